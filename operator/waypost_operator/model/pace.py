"""How quickly the API server answers, as far as it matters to how old an answer may be when somebody acts on it.

What a live look shows counts as seen when it was asked for. So an answer that took longer than an answer may be old
would be too old on arrival, and the next one too: against a server that is slow all the time, nothing would ever be
done. An answer may therefore be as old as twice what answers of its kind have been shown to take: the *shorter* of the
last two, so that one answer that hung is asked for again and not acted upon. Where an answer takes more than twice as
long as the one before, it is asked for again, too; of a task that can't go on, since requests time out after ten
seconds. (A pod and its node are asked for in turn; answers that alternate between quick and more than three times as
slow, both in step, could keep a task waiting. None such was ever seen.) For the same reason nothing is ever done by an
answer older than twenty seconds (a task's), or forty (a pod's and its node's).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import timedelta

NO_TIME = timedelta(0)
SLACK = 2
"""An answer may be so many times as old as answers take."""


class Asked(enum.Enum):
    """What an answer was about."""

    TASK = "task"
    POD = "pod"
    NODE = "node"


@dataclasses.dataclass(frozen=True)
class Pace:
    """What the last two answers of one kind took."""

    last: timedelta = NO_TIME
    before: timedelta = NO_TIME

    def then(self, took: timedelta) -> Pace:
        """One answer later."""
        return Pace(took, self.last)

    @property
    def shown(self) -> timedelta:
        """What was taken twice in a row."""
        return min(self.last, self.before)


def may_be_as_old(least: timedelta, paces: Mapping[Asked, Pace], *kinds: Asked) -> timedelta:
    """How old answers of these kinds may be that are asked for one after the other; never less than `least`."""
    return max(least, SLACK * sum((paces[kind].shown for kind in kinds if kind in paces), NO_TIME))
