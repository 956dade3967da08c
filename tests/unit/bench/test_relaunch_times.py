"""The times of `make bench-relaunch`, from what its observer wrote down."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.relaunch import SUBJECT, lives, relaunches

Json = dict[str, Any]


def seen(at: float, event: str, uid: str, phase: str, subject: str = "mine") -> Json:
    pod = {"metadata": {"name": f"pod-{uid}", "uid": uid, "labels": {SUBJECT: subject}}, "status": {"phase": phase}}
    return {"at": at, "kind": "Pod", "type": event, "object": pod}


def test_a_relaunch_is_timed_from_the_first_sight_of_the_old_pods_end() -> None:
    record = [
        seen(1.0, "ADDED", "a", "Pending"),
        seen(2.0, "MODIFIED", "a", "Running"),
        seen(5.0, "MODIFIED", "a", "Succeeded"),
        seen(5.25, "ADDED", "b", "Pending"),
        seen(5.5, "DELETED", "a", "Succeeded"),
        seen(6.0, "MODIFIED", "b", "Running"),
        seen(6.0, "ADDED", "x", "Pending", subject="another"),
        seen(9.0, "DELETED", "b", "Running"),  # forced: its end is its disappearance
        seen(9.5, "ADDED", "c", "Pending"),
        seen(10.0, "MODIFIED", "c", "Running"),
    ]
    assert relaunches(lives(record, "mine")) == [pytest.approx((0.25, 1.0)), pytest.approx((0.5, 1.0))]


def test_a_list_counts_as_sight_too_and_a_pod_that_never_ran_as_no_relaunch() -> None:
    first = {"at": 1.0, "kind": "Pod", "type": "LIST", "objects": [seen(0, "", "a", "Failed")["object"]]}
    record = [first, seen(2.0, "ADDED", "b", "Pending")]
    assert [life.over for life in lives(record, "mine")] == [1.0, None]
    assert relaunches(lives(record, "mine")) == []
