"""`Checkpoints`: save, restore, latest, list: the one class that composes the store's parts for a program.

Opening a store with an attempt takes it over; opening it without one only reads. What happens is told to the operator
through the attempt's document (`waypost.attempt`), and a stop order reaches the program through the saves
(`waypost.stop`): both only for the store that the operator's contract names, or without a contract.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, SupportsFloat, SupportsIndex, TypeVar

from waypost import stop
from waypost.attempt import Contract, report
from waypost.backends.opening import canonical_uri, open_backend
from waypost.backends.protocol import Backend
from waypost.errors import CompletedError, ConfigurationError
from waypost.log import logger
from waypost.mover.keeper import Mover
from waypost.state.restoring import Library, read_state
from waypost.state.saving import content_of
from waypost.store import format as store_format
from waypost.store import parts, unfenced
from waypost.store.annotations import checked_metadata, checked_metrics, checked_step
from waypost.store.calls import SAVING, STARTING, TOGETHER, Budget, Calls
from waypost.store.entries import Checkpoint
from waypost.store.fetching import read_pieces
from waypost.store.format import Mode
from waypost.store.group import Group
from waypost.store.handle import WritingHandle, release, share
from waypost.store.info import CheckpointInfo, SaveHandle
from waypost.store.journal import Journal
from waypost.store.manifest import Manifest
from waypost.store.placing import Place
from waypost.store.progress import moving
from waypost.store.pruning import Pruned, prune
from waypost.store.reading import Reading
from waypost.store.reading_into import read_file
from waypost.store.request import Select, chosen_group, chosen_uri, chosen_writer, part_of, selection, uploads_elsewhere
from waypost.store.resuming import BASE, Delivered, Resuming, Take, Which
from waypost.store.retention import Retention
from waypost.store.saver import Job
from waypost.store.seams import Seams
from waypost.store.snapshot import snapshot
from waypost.store.sources import Source
from waypost.store.start import Writer
from waypost.store.start_point import StartPoint
from waypost.store.tree import Kind
from waypost.store.verifying import Verification, verify
from waypost.store.voice import Voice

__all__ = ["BASE", "CheckpointInfo", "Checkpoints", "Group", "RestoredState", "SaveHandle", "preflight"]

T = TypeVar("T")
Part = int | Literal["all"] | None


@dataclasses.dataclass(frozen=True)
class RestoredState:
    """What `Checkpoints.restore_state` gives."""

    state: Any
    """The mapping that was saved, or the selected part of it."""
    info: CheckpointInfo


class Checkpoints:
    """The checkpoint store of one task, opened as one attempt's writer or for reading only.

    `uri` and `attempt` default to the operator's contract. With an attempt, opening walks to the end of the store's
    log and takes it over (FENCE): it raises AttemptRefusedError, CompletedError (this store's task has ended; the
    document already says `completed`), StorageError, ConfigurationError, StopRequested (SIGTERM came first).
    With `attempt=None`, or with any URI but the contract's and no attempt, the store is opened read-only.
    Handles of one process on one store share the connection, the fence and the queue.

    `group`: None writes alone, which of a launcher's ranks only rank 0 may. With "launched" the ranks that a launcher
    (torchrun, mpirun, srun) has started write together: each rank opens the store, and every rank restores, saves and
    completes equally often and in the same order. A checkpoint then holds a part of each rank, or isn't made. Where
    there is no launcher, that is one process alone. A Group names its ranks by hand.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str] | None = None,
        *,
        attempt: int | Literal["contract"] | None = "contract",
        group: Group | Literal["launched"] | None = None,
        retention: Retention | None = None,
        uploader: Literal["process", "thread"] | None = None,
        backend: Backend | None = None,
        seams: Seams | None = None,
        starting: Budget = STARTING,
        saving: Budget = SAVING,
        together: Budget = TOGETHER,
    ) -> None:
        """`retention` defaults to the contract's, for the contract's own store; without either everything is kept.

        `uploader`: "process" uploads large saves in a process beside this one, "thread" in this one. None: as
        WAYPOST_UPLOADER says, else beside wherever that can be (docs/sdk.md).

        `backend` (in place of `uri`), `seams` and the budgets are for tests.
        """
        report()  # before anything can fail: from here on an uncaught error sets the exit code the operator judges by
        told = Contract.from_env()
        opened_by_uri = backend is None
        if backend is None:
            backend = open_backend(chosen_uri(uri, told))
        ours = told is None or canonical_uri(told.destination) == backend.uri
        writer = chosen_writer(attempt, told if ours else None, told)
        if writer is not None:
            writer = dataclasses.replace(writer, group=chosen_group(group, backend.uri))
        self._group = None if writer is None else writer.group
        voice = Voice(ours=ours, group=self._group)
        calls = Calls(backend, seams or Seams(), saving, grace=voice.remaining_grace)
        start_point = None
        if voice.ours and told is not None and told.starts_from is not None:
            start_point = StartPoint.open(told.starts_from, calls.seams, saving)
        self._voice, self._writing, self._closed = voice, None, False
        self._mode: Mode | None = None
        if writer is None:
            self._log, self._mode = None, store_format.known_mode(calls)
        else:
            if retention is None and told is not None and voice.ours:
                retention = told.retention
            beside = uploads_elsewhere(uploader, backend.uri, opened_by_uri=opened_by_uri)
            elsewhere = Mover() if beside else None
            self._writing = self._take_over(calls, writer, starting, start_point, together, retention, elsewhere)
            self._log, start_point = self._writing.log, self._writing.start_point
        self._calls = calls if self._log is None else self._log.journal.calls
        self._start_point = start_point
        self._resuming = Resuming(self._calls, self._journal, self._writing, start_point, stop.check_start)

    _writing: WritingHandle | None

    def _take_over(
        self,
        calls: Calls,
        writer: Writer,
        starting: Budget,
        start_point: StartPoint | None,
        together: Budget,
        retention: Retention | None,
        elsewhere: Mover | None,
    ) -> WritingHandle:
        try:
            writing = share(
                calls,
                writer,
                stop.check_start,
                self._voice.committed,
                starting,
                start_point,
                together,
                retention,
                elsewhere,
            )
        except CompletedError:
            self._voice.tell(completed=True)
            raise
        if writing.calls is not calls:
            calls.backend.close()
            if start_point is not None:
                start_point.close()
        self._voice.tell(fence=writing.log.fence)
        return writing

    @property
    def uri(self) -> str:
        """URI of the store."""
        return self._calls.backend.uri

    @property
    def attempt(self) -> int | None:
        """The attempt that this handle writes as; None when it only reads."""
        return None if self._writing is None else self._writing.writer.attempt

    @property
    def base(self) -> CheckpointInfo | None:
        """What this attempt resumes from: the newest live checkpoint at its FENCE, or the one restored in its place.

        While the store holds none, that of WAYPOST_CHECKPOINT_FROM, if the operator has set it. Fixed for the attempt.
        None: nothing was saved before. Read-only handles: the same as `latest()`.
        """
        self._require_usable()
        return self._resuming.base()

    @property
    def completed(self) -> bool:
        """Whether the log has ended with COMPLETE (a reader asks; a writer can't open such a store)."""
        return self._reading().state().completed

    @property
    def highest_attempt(self) -> int:
        """The highest attempt that the log knows, 0 if none: a local run goes on with one more."""
        return self._reading().state().highest_attempt

    def latest(self) -> CheckpointInfo | None:
        """Return the newest live checkpoint, of whatever attempt; None when nothing was saved yet.

        While the store holds none, that of WAYPOST_CHECKPOINT_FROM, if the operator has set it: its `origin` says so.
        """
        self._require_usable()
        return self._resuming.latest()

    def list(self) -> list[CheckpointInfo]:
        """Return the live checkpoints, newest first."""
        reading = self._reading()
        return [CheckpointInfo.of(entry) for entry in reading.all(reading.state())]

    def restore(
        self,
        path: str | os.PathLike[str],
        checkpoint: Which = None,
        select: Select | None = None,
        *,
        replace: bool = False,
        rank: Part = None,
    ) -> CheckpointInfo | None:
        """Make the folder `path` hold exactly the checkpoint, and return which one; None when nothing was saved yet.

        `checkpoint`: a sequence number, BASE, or None for the newest; while the store holds none, the last two mean the
        one of WAYPOST_CHECKPOINT_FROM, if the operator has set it. `select`: the relative path of a file, link or
        folder of the checkpoint, or several: then the folder holds exactly those, at their paths, and nothing else is
        fetched. The folder must be absent, empty or an earlier restore of ours; `replace=True` overrides. A save of
        bytes comes back as the file `_dst_cp`, a file under its name. Damage falls back along the parents, loudly,
        unless a number was given.

        `rank`, for a checkpoint saved by several ranks: whose part to restore, "all" (a folder for each rank, named by
        its number), or None for one's own part in a group and all outside. In a group every rank has to restore, each
        to a path of its own, and all get the same checkpoint; naming a number, one rank may restore by itself.

        Raises CorruptCheckpointError when nothing whole is left, CheckpointPrunedError for a number that isn't live,
        FencedError, StorageError (of the store, or of the local disk), ConfigurationError for an occupied folder or a
        selected path that the checkpoint doesn't have, StopRequested after SIGTERM. Whatever is raised, the folder is
        as it was; a kill leaves it as it was, empty or absent, or complete (docs/sdk.md has the one exception).
        """
        selected = None if select is None else selection(select)
        place = Place(path, replace=replace)

        def take(calls: Calls, entry: Checkpoint, whole: Manifest) -> None:
            label = f"{calls.backend.uri}#{entry.sequence}"
            part = parts.chosen(entry, whole, rank, self._group)
            part = part if selected is None else part_of(part, selected, label)
            place.fill(part, lambda take: read_pieces(calls, entry, part, take), label)

        delivered = self._deliver(take, checkpoint)
        if delivered is None:
            return None
        logger.info("restored checkpoint %s to %s", delivered.info, place.path)
        return delivered.info

    def read_bytes(self, checkpoint: Which = None, *, rank: Part = None) -> bytes | None:
        """Return the content of a checkpoint that is one file; None when nothing was saved yet.

        Raises ConfigurationError (a ValueError) when it isn't exactly one file, and what `restore` raises. Counts as
        a restore, also by `rank`.
        """

        def take(calls: Calls, entry: Checkpoint, whole: Manifest) -> bytes:
            manifest = parts.chosen(entry, whole, rank, self._group)
            files = [node for node in manifest.nodes if node.kind is not Kind.FOLDER]
            if len(files) != 1 or files[0].kind is not Kind.FILE:
                raise ConfigurationError(
                    f"can't read checkpoint {entry.sequence} of {calls.backend.uri} as bytes: expected exactly one "
                    f"file, found {len(files)}; restore it to a folder"
                )
            return read_file(calls, entry, manifest)

        delivered = self._deliver(take, checkpoint)
        return None if delivered is None else delivered.value

    def restore_state(
        self,
        into: Mapping[Any, Any] | None = None,
        checkpoint: Which = None,
        select: str | Sequence[str] | None = None,
        *,
        library: Library | None = None,
        rank: Part = None,
    ) -> RestoredState | None:
        """Return the state that a `save` of a mapping kept, and which checkpoint it is; None when nothing was saved.

        Mappings come back as dict, lists and tuples as such. Each array comes back as what it was, a tensor of torch or
        an array of numpy, new, on the CPU; `library` "torch", "numpy" or "plain" (`HostArray`, which needs neither)
        makes all of them that. Two names of the same memory share theirs again.

        `into`, a state with the same names, puts the elements into the arrays that stand there (on their device), and
        the state that comes back holds these; numbers and texts can't be changed in place and are only in what comes
        back. Names, element types and shapes are compared before anything is written. All of it is verified when this
        returns, and not before: an error on the way (storage, damage without an older checkpoint to fall back to,
        StopRequested) leaves **some arrays old, some new, some in parts or wrong**: don't compute with them then.
        Without `into` nothing is handed out but a whole state.

        `select`: the name of a part, keys joined by dots ("model", "model.layer1"), or several: the rest is neither
        fetched nor returned. It leads through mappings, not into lists. `into` then has that part only.

        `checkpoint` and `rank` as for `restore`, but one rank's part at a time. Raises ConfigurationError when the
        checkpoint isn't a state, for an unknown `select`, the first difference from `into`, and a library that isn't
        installed, and what `restore` raises.
        """

        def take(calls: Calls, entry: Checkpoint, whole: Manifest) -> Any:
            return read_state(calls, entry, parts.chosen(entry, whole, rank, self._group), into, select, library)

        delivered = self._deliver(take, checkpoint)
        return None if delivered is None else RestoredState(delivered.value, delivered.info)

    def save(
        self,
        source: Source | Mapping[Any, Any],
        *,
        step: SupportsIndex | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        metadata: Mapping[str, Any] | None = None,
        wait: bool = False,
        immutable: bool = False,
    ) -> SaveHandle:
        """Save bytes, the file or folder at a path, or a state; returns once the source may change again.

        A state is a mapping of tensors (torch), arrays (numpy, or anything that gives a buffer, numpy's array interface
        or DLPack on the CPU), bytes, numbers, texts and None, in mappings with texts or whole numbers as keys, lists
        and tuples. It comes back by `restore_state`; as a file it is one `state.safetensors`.

        The upload goes on in the background, one at a time; behind it the newest save takes the place of older ones,
        which end as superseded. `wait=True` returns when the save is durable, and is never superseded.

        `immutable=True` promises that the files at the path are never written to again, only replaced by others or
        removed: then `save` makes hard links beside the source where it can, in place of a copy, and returns in the
        time of a link for each file. This save fails with OSError (EBUSY) for a file whose size or modification time
        shows that it was written to all the same (a mapping's writes may show in neither).

        In a group every rank saves, with the same step; metrics and metadata are those of rank 0. No save is superseded
        there: each waits for the one before, and it fails, in all ranks, when one rank doesn't take part.

        Raises the error of an earlier save that nobody has been told of and no later one has made good, FencedError
        and CompletedError when the store is no longer this attempt's, OSError when the source can't be read or
        changes meanwhile, ConfigurationError, and StopRequested by the rules of the stop order; with `wait=True` also
        what `SaveHandle.result` raises.
        """
        self._voice.before_save()
        writing = self._open_writing()
        writing.log.require_open()
        ordinal = writing.turn()
        writing.saver.raise_failure()
        number, plain = checked_step(step), checked_metrics(metrics)
        extra = checked_metadata(metadata, plain)
        if isinstance(source, Mapping):
            content = content_of(source, writing.buffers, writing.saver.displace)
        else:
            content = snapshot(source, wait=wait, immutable=immutable)
        in_place = wait or not (content.copied or content.lasting)
        keeps_turn = in_place or ordinal is not None
        job: Job[CheckpointInfo] = Job(content, number, plain, extra, keeps_turn, ordinal)
        saving = SaveHandle(job.latch)
        try:
            writing.saver.submit(job)
            if in_place:
                job.latch.wait()
        except BaseException:
            writing.saver.withdraw(job)
            raise
        if wait:
            saving.result()
            self._voice.after_commit()
        return saving

    def pin(self, sequence: int) -> None:
        """Never prune this checkpoint until it is unpinned; works on read-only handles and beside a running attempt.

        Raises CheckpointPrunedError when it isn't live, StorageError, StoreDeletedError, ConfigurationError.
        """
        unfenced.pin(self._bystanding(), sequence)

    def unpin(self, sequence: int) -> None:
        """Let this checkpoint be pruned again; one that isn't pinned is no error. Raises as `pin`."""
        unfenced.unpin(self._bystanding(), sequence)

    @property
    def pinned(self) -> tuple[int, ...]:
        """The pinned checkpoints, newest first."""
        return tuple(self._reading().state().pinned)

    def prune(self, retention: Retention, *, dry_run: bool = False) -> Pruned:
        """Prune once what `retention` doesn't keep, and delete its data; works on read-only handles, beside an attempt.

        Reads the newest checkpoint first, whole, and counts from the newest that is. A save with `retention` prunes by
        itself. Raises ConfigurationError while the newest attempt has not saved yet (what it resumed from is unknown
        then), CorruptCheckpointError when no checkpoint is whole, StorageError, StoreDeletedError.
        """
        return prune(self._bystanding(), retention, dry_run=dry_run)

    def verify(self, checkpoint: int | None = None) -> Verification:
        """Read every entry of the log and every live checkpoint, or one, and report what is missing or wrong.

        Repairs nothing. Raises CheckpointPrunedError for a `checkpoint` that isn't live, StorageError,
        StoreDeletedError.
        """
        return verify(self._bystanding(), checkpoint)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every save has ended.

        Raises what went wrong with one that nobody has been told of and no later one has made good, and StorageError
        when they haven't ended after `timeout` seconds.
        """
        if self._writing is not None:
            self._open_writing().flush(timeout)

    def complete(self) -> None:
        """Flush, end the log with COMPLETE, and write `completed` into the document once it is confirmed.

        Nothing can be saved afterwards, by any attempt. Raises what `flush` raises, and StorageError when COMPLETE
        couldn't be confirmed: then the task isn't complete.
        """
        self._open_writing().complete()
        self._voice.tell(completed=True)

    def close(self) -> None:
        """Flush and let go of the store; safe to repeat. At the interpreter's exit a flush happens by itself."""
        if self._closed:
            return
        self._closed = True
        if self._writing is None:
            self._calls.backend.close()
            if self._start_point is not None:
                self._start_point.close()
        else:
            release(self._writing)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reading(self) -> Reading:
        self._require_usable()
        return self._resuming.own()

    def _journal(self, calls: Calls) -> Journal:
        """The store's log by these calls. A store that didn't exist when it was opened may have been made since."""
        if self._log is not None:
            return self._log.journal.through(calls)
        if self._mode is None:
            self._mode = store_format.known_mode(calls)
        return store_format.journal_of(self._mode, calls)

    def _bystanding(self) -> Journal:
        """The store's log as somebody without a fence sees it. Raises ConfigurationError when there is no store."""
        self._require_usable()
        mode = store_format.known_mode(self._calls)
        if mode is None:
            raise ConfigurationError(f"there is no checkpoint store at {self.uri}")
        return store_format.journal_of(mode, self._calls)

    def _deliver(self, take: Take[T], which: Which) -> Delivered[T] | None:
        self._require_usable()
        with moving("restoring", "have come") as progress:
            delivered = self._resuming.deliver(take, which)
        if delivered is not None and delivered.resumed:
            self._voice.resumes_from(delivered.info, progress.took(delivered.info.size_bytes))
            if self._writing is not None:
                self._writing.expect_saves(delivered.info.size_bytes)
        return delivered

    def _open_writing(self) -> WritingHandle:
        self._require_usable()
        if self._writing is None:
            raise ConfigurationError(
                f"{self.uri} was opened read-only; to write to it, open it with an attempt: "
                "Checkpoints(uri, attempt=N), with N higher than any before"
            )
        return self._writing

    def _require_usable(self) -> None:
        if self._closed:
            raise ConfigurationError(f"this handle on {self.uri} has been closed")
        if self._writing is not None and self._writing.pid != os.getpid():
            raise ConfigurationError(
                f"this handle on {self.uri} belongs to process {self._writing.pid}, which forked this one; a child "
                "can't use it. Open the store in the child, read-only, or hand its results to the parent to save"
            )


def preflight(uri: str | os.PathLike[str] | None = None) -> None:
    """Check that the store can be reached and has what it needs, before user code runs; takes nothing over.

    Reads the store's format.json or, in a new one, probes the place and writes it. Raises StorageError (exit code 74,
    naming URI and operation), ConfigurationError, StopRequested.
    """
    backend = open_backend(chosen_uri(uri, Contract.from_env()))
    try:
        store_format.prepare(Calls(backend, Seams(), STARTING, stop.check_start))
    finally:
        backend.close()
