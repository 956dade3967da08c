"""ttlSecondsAfterFinished: a finished task goes by itself, on time, and with its store where that was asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.e2e.scene import Json, Scene
from tests.e2e.tasks import quick, stepping, task
from waypost import contract
from waypost.contract import ConditionType, EventReason

LIMIT = 15
LATE = 15
"""Seconds after its time by which a task must have gone, on a busy machine."""


def short_lived(scene: Scene, name: str, *ends: str, policy: str = "Retain", limit: int = LIMIT) -> Json:
    """A task that is soon over, and goes `limit` seconds later."""
    body = task(scene, name, stepping(scene, name, *ends, steps=3, every=1, pace=0.05), policy=quick(failures=0))
    body["spec"] |= {"ttlSecondsAfterFinished": limit}
    body["spec"]["checkpoint"]["deletionPolicy"] = policy
    return body


def end_of(scene: Scene, name: str) -> tuple[str, datetime]:
    """How the task ended, by its condition, and when."""
    status = scene.wait_finished(name)
    verdict = next(one for one in status["conditions"] if one["type"] == ConditionType.SUCCEEDED)
    return verdict["status"], datetime.fromisoformat(verdict["lastTransitionTime"])


def test_it_goes_on_time_however_it_ended_and_one_whose_limit_is_taken_away_stays(scene: Scene) -> None:
    scene.apply(
        short_lived(scene, "done"),
        short_lived(scene, "failed", "--end=2=exit:1"),
        short_lived(scene, "kept", limit=LIMIT + 5),
    )
    (how, done), (how_not, failed), (_, kept) = (end_of(scene, name) for name in ("done", "failed", "kept"))
    assert (how, how_not) == ("True", "False")
    no_limit = json.dumps({"spec": {"ttlSecondsAfterFinished": None}})
    scene.kubectl("patch", f"{contract.PLURAL}.{contract.GROUP}", "kept", "--type=merge", "-p", no_limit)
    gone: dict[str, datetime] = {}

    def both_gone() -> bool:
        for name in {"done", "failed"} - set(gone):
            if not scene.task(name):
                gone[name] = datetime.now(UTC)
        return len(gone) == 2

    scene.wait("the finished tasks to go", both_gone)
    for name, end in (("done", done), ("failed", failed)):
        lived = gone[name] - end
        assert timedelta(seconds=LIMIT) <= lived <= timedelta(seconds=LIMIT + LATE), f"{name} went after {lived}"
        told = scene.wait_event(name, EventReason.EXPIRED)["note"]
        assert told == f"deleted by the operator: the task finished ttlSecondsAfterFinished ({LIMIT}) ago"
    assert f"/{scene.namespace}/done-" in scene.wait_event("done", EventReason.CHECKPOINTS_RETAINED)["note"]
    scene.wait("their pods to go with them", lambda: scene.pod("done-1") is None and scene.pod("failed-1") is None)
    past = kept + timedelta(seconds=LIMIT + 7)
    scene.wait(f"the time of the third to be over ({past})", lambda: datetime.now(UTC) > past)
    assert scene.outcome("kept") == "Succeeded", "the limit was taken away in time"
    assert scene.history().broken_promises() == []


def test_with_deletion_policy_delete_its_store_goes_first(scene: Scene) -> None:
    scene.apply(short_lived(scene, "train", policy="Delete", limit=0))
    scene.wait_event("train", EventReason.EXPIRED, seconds=60)
    scene.wait("the task to go", lambda: not scene.task("train"))
    assert f"/{scene.namespace}/train-" in scene.wait_event("train", EventReason.CHECKPOINTS_DELETED)["note"]
    assert scene.history().broken_promises() == []
