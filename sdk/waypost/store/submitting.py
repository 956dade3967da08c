"""From what a program wants saved to a job in the queue; or, whatever interrupts that, to nothing at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from waypost.errors import ConfigurationError
from waypost.state.saving import content_of
from waypost.store.handle import WritingHandle, open_stores
from waypost.store.info import CheckpointInfo, SaveHandle
from waypost.store.saver import Job
from waypost.store.snapshot import Leave, snapshot
from waypost.store.sources import Source
from waypost.store.undisturbed import with_its_end


@dataclasses.dataclass(frozen=True)
class Notes:
    """What is saved with a content."""

    step: int | None
    metrics: Mapping[str, float]
    metadata: Mapping[str, Any]


def require_alone(writing: WritingHandle) -> None:
    """Raise ConfigurationError where several ranks save together: one of them can't tell that all parts stand."""
    if writing.ranks is not None:
        raise ConfigurationError(
            "consume=True isn't possible with several ranks: save without it (immutable=True may do), or have one rank "
            "save alone, to a store of its own"
        )


def submit(
    writing: WritingHandle, source: Source | Mapping[Any, Any], notes: Notes, leave: Leave, ordinal: int | None
) -> SaveHandle:
    """Make the source safe to change, and queue its save; returns when it may change, with `wait` at the save's end.

    Raises OSError, and ConfigurationError. Whatever is raised, SIGINT's exceptions too: what isn't queued has changed
    nothing, and what is goes on if the program may go on.
    """
    job: Job[CheckpointInfo] | None = None
    failed: BaseException | None = None
    returned = False

    def begin() -> SaveHandle:
        nonlocal job, failed, returned
        try:
            if isinstance(source, Mapping):
                content = content_of(source, writing.buffers, writing.saver.displace)
            else:
                content = snapshot(source, leave, () if leave.given is None else _needed())
            in_place = leave.wait or not (content.copied or content.lasting)
            keeps_turn = in_place or ordinal is not None
            job = Job(content, notes.step, notes.metrics, notes.metadata, keeps_turn, ordinal)
            handle = SaveHandle(job.latch)
            writing.saver.submit(job)
            if in_place:
                job.latch.wait()
            returned = True
        except BaseException as error:
            failed = error
            raise
        return handle

    def end() -> None:
        if returned:
            return
        if job is not None:
            writing.saver.withdraw(job)
        elif leave.given is not None:
            leave.given.put_back(failed)

    return with_its_end(begin, end)


def _needed() -> list[bytes]:
    """Folders that have to stay where they are: of stores, and that of temporary files."""
    folders = [os.fsencode(uri.removeprefix("file://")) for uri in open_stores() if uri.startswith("file://")]
    with contextlib.suppress(FileNotFoundError):  # there is none
        folders.append(os.fsencode(tempfile.gettempdir()))
    return folders
