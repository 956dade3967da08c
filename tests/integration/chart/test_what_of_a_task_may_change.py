"""What of a task a user may change once it is there, and what may never change, told by a real API server."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.cluster import ClusterError
from tests.integration.chart.tasks import FROM_CHANGED, URI_CHANGED, task
from waypost import contract

pytestmark = pytest.mark.integration

URI = "spec__checkpoint__uri"
FROM = "spec__checkpoint__from"
FAILURES = "spec__failurePolicy__maxFailures"
CONTAINERS = "spec__template__spec__containers"


def test_the_uri_of_a_task_cannot_change(apply: Callable[..., str]) -> None:
    apply(task(metadata__name="moves"))
    apply(task(metadata__name="moves", **{FAILURES: 7}))
    with pytest.raises(ClusterError, match=URI_CHANGED):
        apply(task(metadata__name="moves", **{URI: "s3://elsewhere/runs"}))


def test_what_a_task_starts_from_cannot_change_nor_come_or_go(apply: Callable[..., str]) -> None:
    """Attempt 1 may have begun from it already, and no later one would know."""
    apply(task(metadata__name="tunes", **{FROM: "s3://bucket/base#1"}))
    apply(task(metadata__name="tunes", **{FROM: "s3://bucket/base#1", FAILURES: 7}))
    for another in ({FROM: "s3://bucket/base#2"}, {FROM: "s3://bucket/base"}, {FROM: None}):
        with pytest.raises(ClusterError, match=re.escape(FROM_CHANGED)):
            apply(task(metadata__name="tunes", **another))
    apply(task(metadata__name="begins"))
    with pytest.raises(ClusterError, match=re.escape(FROM_CHANGED)):
        apply(task(metadata__name="begins", **{FROM: "s3://bucket/base"}))


def test_the_store_of_a_task_whose_names_are_longest_can_be_a_start_point(apply: Callable[..., str]) -> None:
    store = contract.store_uri("s3://b/" + "x" * 505, "n" * 63, "t" * 52, "0d5dfdb4-00a6-41f1-a986-eb6b1a5579ec")
    apply(task(**{FROM: f"{store}#{2**63 - 1}"}), "--dry-run=server")


def test_the_store_of_a_task_cannot_be_taken_away(apply: Callable[..., str]) -> None:
    apply(task(metadata__name="stays"))
    with pytest.raises(ClusterError, match=r"spec\.checkpoint: Required value"):
        apply(task(metadata__name="stays", spec__checkpoint=None))


def test_the_template_of_a_task_may_change_since_the_next_attempt_uses_it(apply: Callable[..., str]) -> None:
    apply(task(metadata__name="changes"))
    apply(task(metadata__name="changes", **{f"{CONTAINERS}__0__image": "example:2"}))
