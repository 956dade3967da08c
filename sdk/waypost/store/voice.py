"""What a store tells outside: the attempt's document, and the stop order.

Silent for stores that aren't the task's own: the operator asks how far its task came, and a stop order is honoured by
progress of that task.
"""

from __future__ import annotations

from typing import Unpack

from waypost import stop
from waypost.attempt import Fields, report
from waypost.contract import Position, Transfer
from waypost.store.group import Group
from waypost.store.info import CheckpointInfo


class Voice:
    """The voice of one store."""

    def __init__(self, *, ours: bool, group: Group | None = None) -> None:
        """In a group rank 0 alone has a voice: all ranks of a pod share one document."""
        self.ours, self._group = ours, group

    def tell(self, **fields: Unpack[Fields]) -> None:
        """Put these fields into the document."""
        leads = self._group is None or self._group.rank == 0
        if self.ours and leads and (document := report()) is not None:
            document.update(**fields)

    def resumes_from(self, info: CheckpointInfo, restore: Transfer | None = None) -> None:
        """What the attempt goes on from; a start point's numbers are another store's, and have a field of their own.

        `restore`: what it took, if its files were restored.
        """
        position = Position(info.sequence, info.step)
        if info.origin is None:
            self.tell(resumed_from=position, started_from=None, restore=restore)
        else:
            self.tell(resumed_from=None, started_from=position, restore=restore)

    def committed(self, info: CheckpointInfo, save: Transfer) -> None:
        """Called in the saver's thread, before anybody is told that the save stands."""
        self.tell(committed=Position(info.sequence, info.step), last_save=save)
        if self.ours:
            stop.note_commit(by_all=self._group is not None)

    def remaining_grace(self) -> float | None:
        """Seconds until the process is killed; None as long as no stop was requested."""
        return stop.remaining_grace()

    def before_save(self) -> None:
        """Raise StopRequested when a save has already honoured the stop order."""
        if self.ours:
            stop.before_save()

    def after_commit(self) -> None:
        """Raise StopRequested when this save has honoured the stop order; in the thread that waited for it."""
        if self.ours:
            stop.after_commit()
