"""One process's hold on one store: shared by every `Checkpoints` that the process opens on it.

Two writers in one process would fence each other, so the second one gets the first one's handle. A forked child
inherits the memory of a handle, but neither its threads nor the right to write: there it is dead (rules 2 and 15).
"""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Final, Protocol

from waypost import attempt, ending, stop
from waypost.contract import Transfer
from waypost.errors import ConfigurationError, StorageError
from waypost.log import logger
from waypost.state.buffers import Buffers
from waypost.store import format as store_format
from waypost.store.calls import STARTING, TOGETHER, Budget, Calls
from waypost.store.entries import Checkpoint, Complete, Origin
from waypost.store.following import FollowedLog
from waypost.store.history import fact_of
from waypost.store.info import CheckpointInfo
from waypost.store.joining import join, require_conditional
from waypost.store.journal import Journal
from waypost.store.keys import Upload
from waypost.store.log import Log, Stamp
from waypost.store.manifest import Manifest
from waypost.store.names import Names
from waypost.store.packing import Stock
from waypost.store.ranks import Leader, Member
from waypost.store.retention import Retention, to_prune
from waypost.store.saver import Job, Saver
from waypost.store.sequences import NOTHING, Sequences
from waypost.store.sizes import SIZES, Sizes
from waypost.store.sources import Content
from waypost.store.start import IssuedFences, Writer
from waypost.store.start_point import StartPoint
from waypost.store.state import State
from waypost.store.tidying import Tidying
from waypost.store.uploading import Uploaded, Uploads
from waypost.store.urgency import Urgency

CLOSING_SECONDS: Final = 5.0
"""How long a program's end may take longer because of what was pruned and not deleted yet."""


class Elsewhere(Protocol):
    """Packs and uploads beside this process's threads."""

    urgency: Callable[[], Urgency]
    """How much that may take from the program."""

    def prepare(self, uri: str, size: int) -> None:
        """Get ready for saves of some `size` bytes to this store."""

    def pack(self, content: Content, calls: Calls, upload: Upload, sizes: Sizes, held: Stock, /) -> Manifest:
        """As `packing.pack_content`."""

    def close(self) -> None:
        """End it, whatever is under way."""


class WritingHandle:
    """A store that this process has taken over, for one attempt."""

    def __init__(
        self,
        calls: Calls,
        writer: Writer,
        interrupt: Callable[[], None],
        committed: Callable[[CheckpointInfo, Transfer], None],
        starting: Budget,
        issued: IssuedFences | None = None,
        sizes: Sizes = SIZES,
        start_point: StartPoint | None = None,
        together: Budget = TOGETHER,
        retention: Retention | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Probe the store if need be, walk its log, append the FENCE; or, as a rank above 0, join that of rank 0.

        Without a CHECKPOINT, ask the start point.

        `interrupt` is called between the requests of the start and may raise; `committed` at each confirmed save, in
        the saver's thread, with what the save took; `together` is how long a rank waits for the others. `issued` are
        the FENCEs of this process. Without `retention` everything is kept. Who packs and uploads `elsewhere` is closed
        with the handle.
        """
        self.uri, self.writer, self.pid, self.users = calls.backend.uri, writer, os.getpid(), 0
        self.calls, self._committed, self.retention = calls, committed, retention
        group = writer.group
        nonce = "" if group is None else calls.seams.nonce()
        self.log: Log
        journal: Journal
        if group is not None and group.rank > 0:
            journal, state = join(calls.interruptible(interrupt, together), writer, group, nonce)
            self.log = FollowedLog(journal.through(calls), writer.attempt, state.fence, state)
        else:
            begin = calls.interruptible(interrupt, starting)
            journal = store_format.journal_of(store_format.prepare(begin), begin)
            if group is not None:
                require_conditional(journal)
            state = journal.take_over(writer, _issued if issued is None else issued)
            self.log = Log(journal.through(calls), writer.attempt, state.fence, state)
        self.base: int | Origin | None = state.live.newest
        """What this attempt resumes from: the newest live checkpoint at its FENCE, or what was restored instead."""
        self.start_point = start_point
        if self.base is None and start_point is not None:
            start_point.find(interrupt, starting)
            self.base = start_point.origin
        self.tidying: Tidying | None = None
        if retention is not None and not isinstance(self.log, FollowedLog):  # rank 0 prunes for all
            self.tidying = Tidying(self.log.journal, state.fence, state.live.newest)
            self.tidying.history.follow(state.live)
        self.saver: Saver[CheckpointInfo] = Saver(
            self._save,
            calls.seams.worker("waypost-saver"),
            self._tidy,
            calls.seams.clock,
            lambda: calls.remaining_grace() is not None,
        )
        rank, size = (0, 1) if group is None else (group.rank, group.size)
        self.buffers = Buffers()
        """Where states are copied to before they are uploaded."""
        self._elsewhere = elsewhere
        self._uploads = Uploads(
            calls.interruptible(self.saver.give_way),
            state.fence,
            sizes,
            journal.first_ordinal() + rank,
            size,
        )
        if elsewhere is not None:
            elsewhere.urgency = self.saver.urgency
            self._uploads.packer = elsewhere.pack
        self.ranks: Leader | Member | None = None
        """The other ranks' counterpart, if this process is one of several."""
        if isinstance(self.log, FollowedLog):
            assert group is not None
            self.ranks = Member(self.log, calls, group, nonce, self._uploads, together)
        elif group is not None:
            self.ranks = Leader(calls, group, state.fence, nonce, self._uploads, together)

    def resumed(self, restored: int | Origin) -> bool:
        """A checkpoint was restored: until the first commit, it is what this attempt goes on from. Whether it is."""
        if self.log.committed is not None:
            return False
        self.base = restored
        return True

    def expect_saves(self, size: int) -> None:
        """What was restored has `size` bytes, so what is saved will have: the first save finds all of it running."""
        elsewhere = self._elsewhere
        if elsewhere is not None:
            self.saver.call(lambda: elsewhere.prepare(self.uri, size))

    def turn(self) -> int | None:
        """Begin a call that all ranks make together: wait for the saves before it. Its ordinal; None without ranks."""
        if self.ranks is None:
            return None
        ordinal = self.ranks.next_ordinal()
        self.saver.drain(None)
        return ordinal

    def flush(self, timeout: float | None = None) -> None:
        """Wait for everything submitted. Raises what went wrong and nobody was told, StorageError after `timeout`."""
        if not self.saver.drain(timeout):
            raise StorageError(
                "finish the saves to", self.uri, f"they took longer than {timeout:.0f} s", outcome="unknown"
            )
        self.saver.raise_failure()

    def complete(self) -> None:
        """Flush, and end the log with COMPLETE; with several ranks once all have come to this."""
        ordinal = self.turn()
        self.flush()
        latch = self.saver.call(lambda: self._end_log(ordinal))
        latch.wait()
        if (error := latch.tell()) is not None:
            raise error

    def close(self) -> None:
        """Flush, and let go."""
        try:
            self.flush()
            self.finish_tidying()
        finally:
            self.saver.stop()
            self.end_uploads()
            self.buffers.close()
            self.calls.backend.close()
            if self.start_point is not None:
                self.start_point.close()

    def finish_tidying(self) -> None:
        """Go on deleting what was pruned, for a moment; what remains then is the next attempt's."""
        if not stop.requested():
            self.saver.tidy(CLOSING_SECONDS)

    def end_uploads(self) -> None:
        """Let go of what uploads beside this process, when nothing is on its way; another save may start it again."""
        if self._elsewhere is not None:
            self._elsewhere.close()

    def _save(self, job: Job[CheckpointInfo]) -> CheckpointInfo:
        self.log.require_open()
        began, sent = self.calls.seams.clock(), self._uploads.sent
        entry = self.ranks.save(job) if isinstance(self.ranks, Member) else self._append(job)
        info = CheckpointInfo.of(entry)
        took = round((self.calls.seams.clock() - began) * 1000)
        self._committed(info, Transfer(info.size_bytes, self._uploads.sent - sent, took))
        return info

    def _append(self, job: Job[CheckpointInfo]) -> Checkpoint:
        self._uploads.follow(self.log.state.live, self.log.take_adopted())
        uploaded = self._upload(job)

        def build(state: State, stamp: Stamp) -> Checkpoint:
            nonlocal uploaded
            self._uploads.follow(state.live, self.log.take_adopted())
            if not self._uploads.may_name(uploaded):
                uploaded = self._upload(job)
            self._uploads.sending(uploaded, stamp.nonce)
            entry = Checkpoint(
                sequence=stamp.sequence,
                attempt=stamp.attempt,
                fence=stamp.fence,
                nonce=stamp.nonce,
                time=stamp.time,
                live=state.live.adding(stamp.sequence),
                pinned=state.pinned,
                step=job.step,
                metrics=job.metrics,
                metadata=job.metadata,
                parent=self.log.committed or self.base,
                size=uploaded.size,
                manifest=uploaded.manifest,
                data=uploaded.data,
                ranks=None if self.ranks is None else self.ranks.group.size,
                ordinal=job.ordinal,
            )
            prunes = self._superfluous(entry, state)
            return dataclasses.replace(entry, live=entry.live.without(prunes), prunes=prunes)

        entry = self.log.append(build)
        self._uploads.named(uploaded, entry.sequence, entry.nonce)
        if self.tidying is not None:
            self.tidying.committed(entry, Names(uploaded.objects))
        return entry

    def _upload(self, job: Job[CheckpointInfo]) -> Uploaded:
        uploaded = self.ranks.upload(job) if isinstance(self.ranks, Leader) else self._uploads.upload(job.content)
        job.keeps_turn = True  # nothing gives way any more: its entry may be on its way from now on
        return uploaded

    def _end_log(self, ordinal: int | None) -> None:
        if self.ranks is not None:
            assert ordinal is not None
            self.ranks.complete(ordinal)
        if not isinstance(self.ranks, Member):
            self.log.append(self._complete_entry)

    def _superfluous(self, entry: Checkpoint, state: State) -> Sequences:
        """What this entry prunes, if it follows on `state`; to be asked anew for each number tried (rule 16)."""
        if self.tidying is None or self.retention is None:
            return NOTHING
        history = self.tidying.history
        history.follow(state.live)
        return to_prune(
            self.retention,
            fact_of(entry),
            state.live,
            history.facts,
            unreadable=history.unreadable,
            pinned=state.pinned,
            protected=(self.base,) if isinstance(self.base, int) else (),
        )

    def _tidy(self) -> bool:
        return self.tidying is not None and self.tidying.step()

    @staticmethod
    def _complete_entry(state: State, stamp: Stamp) -> Complete:
        return Complete(
            sequence=stamp.sequence,
            attempt=stamp.attempt,
            fence=stamp.fence,
            nonce=stamp.nonce,
            time=stamp.time,
            live=state.live,
            pinned=state.pinned,
        )


_issued: Final = IssuedFences()
_open: Final[dict[str, WritingHandle]] = {}
_lock: Final = threading.RLock()


def share(
    calls: Calls,
    writer: Writer,
    interrupt: Callable[[], None],
    committed: Callable[[CheckpointInfo, Transfer], None],
    starting: Budget = STARTING,
    start_point: StartPoint | None = None,
    together: Budget = TOGETHER,
    retention: Retention | None = None,
    elsewhere: Elsewhere | None = None,
) -> WritingHandle:
    """This process's handle on the store, opened by `calls` if need be; to be given back by `release`.

    Raises ConfigurationError when another attempt, or the process that forked this one, has it open, or this one with
    another retention.
    """
    uri = calls.backend.uri
    with _lock:
        handle = _open.get(uri)
        if handle is None:
            handle = WritingHandle(
                calls,
                writer,
                interrupt,
                committed,
                starting,
                start_point=start_point,
                together=together,
                retention=retention,
                elsewhere=elsewhere,
            )
            _open[uri] = handle
            handle.saver.begin_tidying()
        elif handle.pid != os.getpid():
            raise ConfigurationError(
                f"{uri} is open in process {handle.pid}, which forked this one: only one of the two can write. Save "
                "from the first, or close its Checkpoints before forking"
            )
        elif handle.writer != writer:
            raise ConfigurationError(
                f"this process has {uri} open as {handle.writer}, so it can't open it as {writer}; close the first"
            )
        elif retention not in (None, handle.retention):
            raise ConfigurationError(
                f"this process has {uri} open with retention {handle.retention}, so it can't open it with {retention}; "
                "close the first, or leave retention out"
            )
        handle.users += 1
        return handle


def release(handle: WritingHandle) -> None:
    """Give a shared handle back; the last one flushes and closes it. Raises what the flush raises."""
    with _lock:
        handle.users -= 1
        if handle.users > 0 or handle.pid != os.getpid():
            return
        del _open[handle.uri]
        handle.close()  # under the lock: who opens the store again meanwhile would fence what is still being stored


def _finish() -> None:
    """At the interpreter's exit: what was saved in the background gets stored, or the exit code says that it wasn't."""
    failures: list[BaseException] = []
    for handle in list(_open.values()):
        if handle.pid != os.getpid():
            continue
        try:
            handle.flush(stop.remaining_grace())
            handle.finish_tidying()
            handle.end_uploads()
        except BaseException as error:  # noqa: BLE001 - the process ends here, with the code that tells of it
            logger.error("the program ended, but its last save could not be stored: %s", error)
            failures.append(error)
    if failures:
        end = ending.judge(failures[0])
        end.record(attempt.report())
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        logging.shutdown()
        os._exit(end.exit_code)


atexit.register(_finish)
