"""Two operators that both take themselves for the leader, as for a moment after a lease was lost."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.operator.runtime import Runtime
from tests.unit.operator.story import Story
from waypost_operator.model.decision import WriteStatus

TICK_SECONDS = 0.1
STEPS = 3
"""Of each operator in a tick: enough to come to rest, few enough that neither is done before the other sees it."""


def refused_differently(story: Story) -> Runtime:
    """Both want to create the same pod, and the API server refuses it to each in other words; returns the rival."""
    rival = Runtime(story.world)
    for operator, words in ((story.operator, "exceeded quota"), (rival, "etcd is too slow")):
        story.world.refuse_creates = (500, words)
        while operator.refusal is None:
            operator.watch()
            operator.step()
        operator.step()
    return rival


def work_beside_each_other(story: Story, rival: Runtime, *, seconds: float) -> list[WriteStatus]:
    """Both decide in turns, and each sees at once what the other has done; returns what was written to the task."""
    written = []
    for _ in range(round(seconds / TICK_SECONDS)):
        for operator in (story.operator, rival) * STEPS:
            operator.watch()
            written.append(operator.step().step)
        story.world.now += timedelta(seconds=TICK_SECONDS)
    return [step for step in written if isinstance(step, WriteStatus)]
