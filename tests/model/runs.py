"""What one exploration is, and the casts that several of them share."""

from __future__ import annotations

from typing import Final, NamedTuple

from tests.model.rules import DRAFT, INSIDE, RULES, Rules


class Run(NamedTuple):
    """One exploration, and what it must come to."""

    name: str
    about: str
    rules: Rules
    breaks: frozenset[str] = frozenset()
    """Of a hole: what must be found broken, one of these at least and nothing else."""
    small: Rules | None = None
    """Bounds that take seconds or less, for the unit tests."""
    usable: bool = False


def writers(*attempts: int) -> tuple[tuple[str, int], ...]:
    """One process of each of these attempts."""
    return tuple(("writer", attempt) for attempt in attempts)


ONE_OF_THE_DRAFT: Final = DRAFT._replace(processes=writers(1), completes=False)
READER: Final = (("reader", 0),)
ONE_AND_CLI: Final = (*writers(1), ("cli", 0))
TWO_AND_CLI: Final = (*writers(1, 2), ("cli", 0))
TWO_EXECUTIONS: Final = (("rank 0", 1), ("rank", 0), ("rank 0", 1), ("rank", 2))
RANKS_AND_CLI: Final = (("rank 0", 1), ("rank", 0), ("cli", 0))
THREADS: Final = (("saving thread", 1), ("pruning thread", 0))
OPEN: Final = RULES._replace(completes=False)
INNER: Final = INSIDE._replace(completes=False)
"""What Waypost does; like `OPEN`, with writers that just end, which leaves more for the others to do."""
