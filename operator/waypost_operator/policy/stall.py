"""Whether the task goes on without getting anywhere: several attempts in a row have committed nothing new.

No budget depends on it. A task that is preempted before every first save, or whose store can't be reached, may be
relaunched for days; nobody who looks at it should have to read the history to see that.
"""

from __future__ import annotations

from collections import Counter

from waypost_operator.model.status import TaskStatus

STALLED_AFTER = 3
"""Attempts in a row without progress. Two happen to healthy tasks on spot machines every day."""


def stalled(status: TaskStatus) -> str | None:
    """What the attempts since the last progress ended of, in a sentence, if there were too many; else None."""
    fruitless = status.since_progress.attempts
    if fruitless < STALLED_AFTER:
        return None
    ended = [entry for entry in status.attempts if entry.finished][-fruitless:]
    outcomes = Counter(str(entry.outcome) for entry in ended if entry.outcome)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    where = "nothing was ever committed" if status.last_checkpoint is None else _last(status)
    last = ended[-1] if ended else None
    said = f"; the last one, attempt {last.attempt}: {last.evidence or last.outcome}" if last is not None else ""
    return f"no progress in {fruitless} attempts in a row ({told}), {where}{said}"[:1024]


def _last(status: TaskStatus) -> str:
    found = status.last_checkpoint
    assert found is not None
    step = f"step {found.step}" if found.step is not None else f"checkpoint {found.sequence}"
    return f"the last commit was {step} of attempt {found.attempt}"
