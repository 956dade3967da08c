"""The judge of the recorder's file: it must see what it is there to see, and nothing else."""

from __future__ import annotations

import copy
import datetime
import json
from pathlib import Path
from typing import Any

from tests.witness.history import GAP_SECONDS, History
from waypost import contract

FIXTURES = Path(__file__).parents[1] / "operator" / "fixtures" / "pods"
TASK_UID = "6f0a0c5e-0000-4000-8000-000000000001"
Line = dict[str, Any]


def pod_lines(fixture: str, attempt: int, start: float, *, committed: int | None = None) -> list[Line]:
    """A real pod's watch events, moved to `start` and made the pod of an attempt of our task."""
    raw = [json.loads(line) for line in (FIXTURES / f"{fixture}.jsonl").read_text().splitlines()]
    first = datetime.datetime.fromisoformat(raw[0]["observedAt"]).timestamp()
    lines = []
    for event in raw:
        pod = copy.deepcopy(event["object"])
        pod["metadata"]["name"] = contract.pod_name("train", attempt)
        pod["metadata"]["uid"] += f"-{attempt}"
        pod["metadata"]["labels"] = {contract.LABEL_TASK_UID: TASK_UID, contract.LABEL_ATTEMPT: str(attempt)}
        if committed is not None:
            document = contract.Document(attempt, fence=1, committed=contract.Position(committed, committed))
            for status in pod["status"].get("containerStatuses", ()):
                if "terminated" in status["state"]:
                    status["state"]["terminated"]["message"] = document.encode().decode()
        at = start + datetime.datetime.fromisoformat(event["observedAt"]).timestamp() - first
        lines.append({"at": at, "kind": "Pod", "type": event["type"], "object": pod})
    return lines


def task_line(at: float, event: str = "MODIFIED", *, succeeded: str | None = None, initial: int = 10) -> Line:
    conditions = [{"type": contract.ConditionType.SUCCEEDED, "status": succeeded}] if succeeded else []
    task = {
        "metadata": {"name": "train", "uid": TASK_UID},
        "spec": {"failurePolicy": {"backoff": {"initialSeconds": initial, "maxSeconds": 600}}},
        "status": {"conditions": conditions},
    }
    return {"at": at, "kind": contract.KIND, "type": event, "object": task}


def last_of(lines: list[Line]) -> float:
    return float(lines[-1]["at"])


def test_a_relaunch_after_the_old_pod_ended_keeps_every_promise() -> None:
    first = pod_lines("evict-a", 1, 100.0)
    second = pod_lines("exit75-a", 2, last_of(first) + 1.0)
    history = History([task_line(100.0, "ADDED"), *first, *second, task_line(last_of(second), succeeded="True")])
    assert history.broken_promises() == []
    assert [(life.name, life.disruption) for life in history.lives("train")] == [
        ("train-1", "EvictionByEvictionAPI"),
        ("train-2", None),
    ]
    assert [life.exit_code for life in history.lives("train")] == [0, 75]


def test_a_successor_created_while_the_old_pod_is_terminating_is_reported() -> None:
    first = pod_lines("evict-a", 1, 100.0)
    terminating = next(line["at"] for line in first if line["object"]["metadata"].get("deletionTimestamp"))
    second = pod_lines("exit75-a", 2, terminating + 0.01)
    lines = sorted([*first, *second], key=lambda line: line["at"])
    [sentence] = History(
        [task_line(100.0, "ADDED"), *lines, task_line(last_of(second), succeeded="True")]
    ).broken_promises()
    assert "two pods of task train alive" in sentence
    assert "train-1" in sentence
    assert "train-2" in sentence


def test_a_pod_left_behind_excuses_one_other_beside_it_and_no_two() -> None:
    first = pod_lines("zombieback-a", 1, 100.0)
    terminating = next(line["at"] for line in first if line["object"]["metadata"].get("deletionTimestamp"))
    beside = pod_lines("exit75-a", 2, terminating + 0.01)
    third = pod_lines("exit1-a", 3, terminating + 0.02)
    started = task_line(100.0, "ADDED")
    two = History([started, *sorted([*first, *beside], key=lambda line: line["at"])])
    assert len(two.broken_promises()) == 1
    assert two.broken_promises(["train-1"]) == []
    three = History([started, *sorted([*first, *beside, *third], key=lambda line: line["at"])])
    assert three.broken_promises(["train-1"]) != []


def test_a_second_pod_of_the_same_name_is_another_life() -> None:
    first = pod_lines("force-a", 1, 100.0)
    second = pod_lines("exit75-a", 1, last_of(first) + 0.5)
    history = History([task_line(100.0, "ADDED"), *first, *second, task_line(last_of(second), succeeded="True")])
    assert [life.name for life in history.lives("train")] == ["train-1", "train-1"]
    assert history.broken_promises() == []


def test_a_pod_that_vanished_between_two_lists_counts_as_ended_by_the_second_list() -> None:
    first = pod_lines("force-a", 1, 100.0)[:-1]  # still Running when it was last seen
    second = pod_lines("exit75-a", 2, last_of(first) + 2.0)
    relist = {"at": second[0]["at"], "kind": "Pod", "type": "LIST", "objects": [second[0]["object"]]}
    history = History(
        [task_line(100.0, "ADDED"), *first, relist, *second[1:], task_line(last_of(second), succeeded="True")]
    )
    assert history.broken_promises() == []
    assert history.lives("train")[0].gone == relist["at"]


def test_a_task_left_without_a_pod_for_longer_than_its_backoff_is_reported() -> None:
    first = pod_lines("exit75-a", 1, 100.0)
    late = last_of(first) + 10 + GAP_SECONDS + 1.0
    [sentence] = History(
        [task_line(100.0, "ADDED"), *first, *pod_lines("exit75-a", 2, late), task_line(late + 7, succeeded="False")]
    ).broken_promises()
    assert "task train had no pod for" in sentence
    assert "after train-1" in sentence


def test_what_a_test_itself_kept_from_being_done_is_no_gap() -> None:
    first = pod_lines("exit75-a", 1, 100.0)
    end = last_of(first)
    late = end + 10 + GAP_SECONDS + 6.0
    history = History(
        [task_line(100.0, "ADDED"), *first, *pod_lines("exit75-a", 2, late), task_line(late + 7, succeeded="False")]
    )
    assert history.broken_promises(outages=[(end + 2.0, end + 6.0), (end + 3.0, end + 10.0), (90.0, 95.0)]) == []
    assert history.broken_promises(outages=[(end + 2.0, end + 4.0), (end + 3.0, end + 5.0)]) != [], "counted twice"
    assert history.broken_promises(outages=[(late, late + 50.0), (0.0, end)]) != [], "that was another time"


def test_a_longer_gap_is_allowed_after_several_ends_without_progress() -> None:
    lines, at = [task_line(100.0, "ADDED", initial=20)], 100.0
    for attempt, wait in ((1, 15.0), (2, 35.0), (3, 75.0), (4, 0.0)):
        pod = pod_lines("exit75-a", attempt, at)
        lines += pod
        at = last_of(pod) + wait + GAP_SECONDS
    assert History([*lines, task_line(at, succeeded="False")]).broken_promises() == []


def test_progress_in_between_shortens_the_gap_allowed_again() -> None:
    first = pod_lines("exit75-a", 1, 100.0)
    second = pod_lines("exit75-a", 2, last_of(first) + 20.0, committed=5)
    late = last_of(second) + 2 * 10 + GAP_SECONDS - 1.0  # fine for a second end without progress
    third = pod_lines("exit75-a", 3, late)
    history = History(
        [task_line(100.0, "ADDED"), *first, *second, *third, task_line(last_of(third), succeeded="False")]
    )
    [sentence] = history.broken_promises()
    assert "after train-2" in sentence


def test_a_task_that_never_got_a_pod_is_reported_at_the_end_of_the_record() -> None:
    [sentence] = History([task_line(100.0, "ADDED"), task_line(200.0)]).broken_promises()
    assert "after its creation" in sentence


def test_a_finished_or_deleted_task_needs_no_pod() -> None:
    pod = pod_lines("exit75-a", 1, 100.0)
    deleted = task_line(last_of(pod) + 1, "DELETED")
    later = task_line(last_of(pod) + 500, "ADDED")
    later["object"]["metadata"] |= {"uid": "another", "name": "other"}
    assert History([task_line(100.0, "ADDED"), *pod, deleted, later]).broken_promises() == []


def test_a_task_seen_after_its_first_pod_is_not_alone() -> None:
    pod = pod_lines("exit75-a", 1, 100.0)
    history = History([pod[0], task_line(100.01, "ADDED"), *pod[1:], task_line(last_of(pod), succeeded="True")])
    assert history.gaps == [] or max(gap.seconds for gap in history.gaps) < 1.0


def test_pods_that_are_nobodys_attempt_are_left_alone() -> None:
    foreign = pod_lines("exit75-a", 1, 100.0)
    for line in foreign:
        line["object"]["metadata"]["labels"] = {"app": "something else"}
    assert History(foreign).pods == {}
