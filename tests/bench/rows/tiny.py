"""A state of 64 bytes, saved durably, again and again by one process."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.clients import LIBRARIES, OBSTORE, WAYPOST, Client, limit
from tests.bench.contest import BUCKET, FAR, HTTP, OURS, Contestant, Goal, Results, Row, Stage, times

_KEY = f"{BUCKET}/tiny"
BARE = "bare PUT"


def _count(stage: Stage) -> int:
    return 10 if stage.smoke else 200


def _saves(stage: Stage) -> Sequence[Contestant]:
    count = _count(stage)

    def saves(client: Client) -> Contestant | None:
        program = client.tiny(count, _KEY)
        return None if program is None else client.contestant(lambda _: program)

    saving = [one for one in map(saves, (WAYPOST, *LIBRARIES)) if one is not None]
    return [*saving, limit(BARE, lambda _: ["tiny", str(count), _KEY], unsigned=True)]


def _requests_each(results: Results) -> float:
    return statistics.median(one.total_requests / one.extra["count"] for one in results[OURS])


TINY = Row(
    "tiny",
    "64 bytes to the store, durably: the median of 200 in a row",
    _saves,
    settings=(HTTP, FAR),
    goals=(
        Goal("a tiny state in one request", _requests_each, most=1),
        Goal(
            "at most 1.3 times a conditional PUT by obstore",
            lambda results: 1 / times(OBSTORE.name)(results),
            most=1.3,
        ),
    ),
    columns={"p99": "p99"},
)
