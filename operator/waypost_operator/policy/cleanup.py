"""When a failed clean-up is tried again, and when it is given up.

Both are counted from what stands in status, so they hold over restarts of the operator. A deleted task has no other
budget: whoever deletes wants it gone, so an unreachable store must not keep it (and its namespace) for ever. A clean-up
that runs is no retry: it may take as long as a large store needs.
"""

from __future__ import annotations

from datetime import datetime

from waypost_operator.model.raw import NO_TIME, moment, seconds
from waypost_operator.model.status import Cleanup

RETRIES_END_AFTER = seconds(3600)
"""Since the clean-up began."""
WAIT_INITIAL, WAIT_LIMIT = 10.0, 300.0
"""Seconds between two clean-up pods: doubled with each failure, up to the limit."""
IN_FLIGHT = seconds(15)
"""How long a create that was sent before the task's deletion was seen may take to show; ours wait 10 s at most."""


def next_try(record: Cleanup) -> datetime:
    """When the next clean-up pod may be created."""
    failed = moment(record.last_failure)
    if failed is None:
        return NO_TIME
    return failed + seconds(min(WAIT_INITIAL * 2.0 ** min(max(record.failures - 1, 0), 16), WAIT_LIMIT))


def settled(record: Cleanup) -> datetime:
    """When no pod of the task can appear any more whose create went unanswered."""
    return (moment(record.started) or NO_TIME) + IN_FLIGHT


def retries_end(record: Cleanup) -> datetime:
    """From when on no clean-up pod is created or waited for any more."""
    return (moment(record.started) or NO_TIME) + RETRIES_END_AFTER
