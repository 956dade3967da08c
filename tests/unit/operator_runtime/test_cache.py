"""What the cache may be told in any order, late or twice, and what it then shows to a decision."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from waypost_operator.model.observed import Observed
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.objects import Key

from .objects import EARLY, KEY, LATE, pod, task

POD = Key("ns", "train-1")


def seen(cache: Cache) -> Observed:
    observed = cache.observe(KEY, LATE)
    assert observed is not None
    return observed


def phases(cache: Cache) -> dict[str, str]:
    return {pod.uid: pod.phase for pod in seen(cache).pods}


def with_task(*pods: dict[str, Any]) -> Cache:
    cache = Cache()
    cache.put_task(task(), EARLY)
    for one in pods:
        cache.put_pod(one, EARLY)
    return cache


def test_of_two_versions_the_newer_stays_whatever_comes_last() -> None:
    cache = with_task(pod(version=30, phase="Failed"))
    assert cache.put_pod(pod(version=20), LATE) is None
    assert phases(cache) == {"pod-1": "Failed"}


def test_versions_are_compared_as_numbers() -> None:
    cache = with_task(pod(version=99))
    assert cache.put_pod(pod(version=100, phase="Failed"), LATE) == KEY
    assert phases(cache) == {"pod-1": "Failed"}


def test_the_same_version_again_is_no_news_but_tells_when_it_was_last_seen() -> None:
    cache = with_task(pod())
    assert cache.put_pod(pod(), LATE) is None
    assert seen(cache).pods[0].seen_at == LATE


def disrupted(version: int) -> dict[str, Any]:
    raw = pod(version=version)
    raw["metadata"]["deletionTimestamp"] = "2026-11-23T09:00:30Z"
    raw["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    return raw


def order_seen(cache: Cache) -> bool:
    [one] = seen(cache).pods
    assert (one.disruption is None) == (one.deletion_seen is None)
    return one.disruption is not None


def test_what_an_older_version_showed_of_an_order_to_stop_is_kept_beside_the_newest() -> None:
    cache = with_task(disrupted(20), pod(version=30, phase="Failed"))
    assert order_seen(cache)
    cache.put_pod(pod(version=30, phase="Failed"), LATE)
    cache.put_pod(pod(version=40, phase="Failed"), LATE)
    assert order_seen(cache)
    cache.delete_event(pod(version=50, phase="Failed"), LATE)
    cache.absent_pod(KEY, "train-1", "pod-1")
    assert order_seen(cache), "and of a pod that is gone"


def test_an_order_to_stop_is_kept_also_if_the_version_that_shows_it_comes_late() -> None:
    cache = with_task(pod(version=30, phase="Failed"))
    assert not order_seen(cache)
    assert cache.put_pod(disrupted(20), LATE) == KEY, "that is news"
    assert order_seen(cache)
    assert cache.put_pod(disrupted(20), LATE) is None, "and the second time it isn't"


def test_an_order_to_stop_is_kept_also_if_its_version_comes_when_the_pod_is_gone() -> None:
    cache = with_task(pod(version=30, phase="Failed"))
    cache.absent_pod(KEY, "train-1", "pod-1")
    assert cache.put_pod(disrupted(20), LATE) == KEY
    assert order_seen(cache)
    assert phases(cache) == {"pod-1": "Failed"}
    cache.put_pod(pod(version=40, phase="Failed"), LATE)
    assert order_seen(cache)


def test_a_second_pod_of_the_same_name_was_never_told_to_stop() -> None:
    cache = with_task(disrupted(20), pod("pod-2", version=30))
    shown = {one.uid: one.disruption is not None for one in seen(cache).pods}
    assert shown == {"pod-1": True, "pod-2": False}


def test_a_live_look_at_a_pod_counts_for_the_version_that_it_showed() -> None:
    cache = with_task(pod(version=10))
    assert seen(cache).pods[0].looked_at is None
    cache.read_pod(KEY, pod(version=10), LATE)
    assert seen(cache).pods[0].looked_at == LATE
    cache.put_pod(pod(version=10), LATE)
    assert seen(cache).pods[0].looked_at == LATE
    cache.put_pod(pod(version=11), LATE)
    assert seen(cache).pods[0].looked_at is None


def test_a_task_counts_as_confirmed_only_in_the_version_that_the_api_server_answered() -> None:
    cache = Cache()
    cache.put_task(task(version=10), EARLY)
    assert seen(cache).task_confirmed_at is None
    cache.put_task(task(version=11), EARLY, confirmed=True)
    assert seen(cache).task_confirmed_at == EARLY
    cache.put_task(task(version=11), LATE)
    assert seen(cache).task_confirmed_at == EARLY, "the watch's echo of the same version takes nothing back"
    cache.put_task(task(version=12), LATE)
    assert seen(cache).task_confirmed_at is None


def test_a_deleted_event_is_a_hint_that_keeps_the_last_state() -> None:
    cache = with_task(pod(version=20))
    assert cache.delete_event(pod(version=21, phase="Failed"), LATE) == KEY
    assert phases(cache) == {"pod-1": "Failed"}
    assert seen(cache).missing == {"pod-1"}
    assert seen(cache).gone == frozenset()


def test_a_pod_that_a_get_finds_is_not_missing_any_more() -> None:
    cache = with_task(pod(version=20))
    cache.delete_event(pod(version=21), LATE)
    cache.read_pod(KEY, pod(version=21, labelled=False), LATE)
    assert seen(cache).missing == frozenset()
    assert seen(cache).gone == frozenset()


def test_a_pod_that_a_get_does_not_find_is_gone_and_keeps_its_last_state() -> None:
    cache = with_task(pod(version=20, phase="Failed"))
    cache.absent_pod(KEY, "train-1", "pod-1")
    assert seen(cache).gone == {"pod-1"}
    assert phases(cache) == {"pod-1": "Failed"}


def test_a_pod_nobody_ever_saw_can_be_known_to_be_gone() -> None:
    cache = with_task()
    cache.absent_pod(KEY, "train-1", "pod-0")
    assert seen(cache).gone == {"pod-0"}
    assert phases(cache) == {}


def test_a_late_echo_does_not_raise_a_pod_from_the_dead() -> None:
    cache = with_task(pod(version=20))
    cache.absent_pod(KEY, "train-1", "pod-1")
    cache.put_pod(pod(version=20), LATE)
    assert seen(cache).gone == {"pod-1"}
    assert cache.pod_uid(POD) == ""


def test_the_verdict_of_a_gone_pod_may_come_after_the_news_that_it_is_gone() -> None:
    cache = with_task(pod(version=20))
    cache.absent_pod(KEY, "train-1", "pod-1")
    assert cache.delete_event(pod(version=25, phase="Failed"), LATE) == KEY
    assert phases(cache) == {"pod-1": "Failed"}
    assert seen(cache).gone == {"pod-1"}


def test_a_second_pod_of_the_same_name_ends_the_first_and_is_untouched_by_its_end() -> None:
    cache = with_task(pod("pod-1", 20))
    cache.put_pod(pod("pod-2", 30), LATE)
    cache.delete_event(pod("pod-1", 25, phase="Failed"), LATE)
    cache.end_pod(POD, "pod-1")
    assert seen(cache).gone == {"pod-1"}
    assert seen(cache).missing == frozenset()
    assert cache.pod_uid(POD) == "pod-2"


def test_a_stranger_in_the_way_is_shown_until_its_name_is_free() -> None:
    cache = with_task()
    stranger = pod("other", 40, labelled=False)
    stranger["metadata"]["ownerReferences"] = []
    cache.read_pod(KEY, stranger, LATE)
    assert phases(cache) == {"other": "Running"}
    cache.absent_pod(KEY, "train-1", "")
    assert phases(cache) == {}


def test_pods_of_a_deleted_namesake_are_shown_too() -> None:
    cache = with_task(pod("old", 5, name="train-7", owner="task-0"))
    assert phases(cache) == {"old": "Running"}


def test_a_deleted_task_is_decided_about_before_its_namesake() -> None:
    cache = with_task()
    cache.put_task(task("task-2", 50), LATE)
    assert (seen(cache).uid, seen(cache).task_gone) == ("task-1", True)
    cache.forget_task(KEY, "task-1")
    assert (seen(cache).uid, seen(cache).task_gone) == ("task-2", False)


def test_a_late_echo_of_a_deleted_task_changes_nothing() -> None:
    cache = with_task()
    cache.end_task(KEY, "task-1")
    cache.forget_task(KEY, "task-1")
    assert cache.put_task(task("task-1", 11), LATE) is None
    assert cache.observe(KEY, LATE) is None


def test_an_older_namesake_is_not_taken_for_the_present_one() -> None:
    cache = Cache()
    cache.put_task(task("task-2", 50), EARLY)
    assert cache.put_task(task("task-1", 10), LATE) is None
    assert seen(cache).uid == "task-2"


def test_a_task_that_a_list_does_not_show_is_doubted_until_it_is_asked_for() -> None:
    cache = with_task()
    assert cache.doubt_task(KEY, "task-1") == KEY
    assert cache.doubted_task(KEY) == "task-1"
    assert not seen(cache).task_gone
    cache.put_task(task(), LATE, confirmed=True)
    assert cache.doubted_task(KEY) == ""


def test_what_a_decision_no_longer_asks_for_is_dropped() -> None:
    cache = with_task(pod())
    cache.absent_pod(KEY, "train-1", "pod-1")
    cache.forget_pods(KEY, frozenset({"pod-1"}))
    assert phases(cache) == {}
    assert seen(cache).gone == frozenset()


def test_a_missing_pod_that_does_not_matter_is_dropped_and_may_be_found_again() -> None:
    cache = with_task(pod(phase="Succeeded"))
    cache.delete_event(pod(version=21, phase="Succeeded"), LATE)
    cache.forget_pods(KEY, frozenset({"pod-1"}))
    assert phases(cache) == {}
    assert seen(cache).missing == frozenset()
    cache.read_pod(KEY, pod(version=21, phase="Succeeded"), LATE)
    assert phases(cache) == {"pod-1": "Succeeded"}


def test_the_gone_pod_of_a_forgotten_task_is_remembered_by_nobody() -> None:
    cache = with_task(pod())
    cache.end_task(KEY, "task-1")
    cache.forget_task(KEY, "task-1")
    cache.end_pod(POD, "pod-1")
    assert list(cache.pods()) == []
    assert cache.observe(KEY, LATE) is None


LIFE = [pod("pod-1", 20), pod("pod-1", 21, phase="Failed"), pod("pod-2", 30), pod("pod-2", 31, phase="Succeeded")]


@given(st.permutations(LIFE), st.lists(st.sampled_from(LIFE), max_size=4))
def test_in_whatever_order_versions_arrive_the_newest_of_the_newest_pod_is_what_exists(
    order: list[dict[str, Any]], repeated: list[dict[str, Any]]
) -> None:
    cache = with_task(*order, *repeated)
    assert cache.pod_uid(POD) == "pod-2"
    assert phases(cache)["pod-2"] == "Succeeded"
