"""Where the next attempt runs: as the template says, or on demand.

The choice is made once, when an attempt is opened, and stands in its record, so that every create of that pod, by
whichever operator, makes the same pod. Once on demand a task stays there: machines that were taken away so often, or
that nobody had, are no better an hour later, and a task that goes back and forth pays for both. Only without
`onDemand` in the spec the template alone counts.
"""

from __future__ import annotations

import dataclasses

from waypost.contract import Placement
from waypost_operator.model.spec import PreemptionPolicy
from waypost_operator.model.status import TaskStatus


@dataclasses.dataclass(frozen=True)
class Choice:
    """A placement; `why` says what brought a change, and is empty where there was none."""

    placement: Placement
    why: str = ""


def choose(policy: PreemptionPolicy, status: TaskStatus, *, leave_template: str = "") -> Choice:
    """The placement of the attempt after those in `status`.

    `leave_template` is another reason than preemptions to go on demand, in words (no node for too long); empty: none.
    """
    if policy.on_demand is None:
        return Choice(Placement.TEMPLATE)
    if status.attempts and status.attempts[-1].placement is Placement.ON_DEMAND:
        return Choice(Placement.ON_DEMAND)
    preemptions, limit = status.counts.preemptions, policy.on_demand_after
    if limit is not None and preemptions >= limit:
        return Choice(Placement.ON_DEMAND, f"{preemptions} preemptions (onDemandAfter: {limit})")
    return Choice(Placement.ON_DEMAND if leave_template else Placement.TEMPLATE, leave_template)
