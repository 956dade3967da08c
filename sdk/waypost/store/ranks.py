"""What the ranks of a group do together: restore one checkpoint, save one checkpoint, complete (rule 12).

Every rank makes the same calls in the same order, and each call has an ordinal. In a save each rank uploads its own
content; those above 0 put a part that says where it is, and rank 0 appends one CHECKPOINT once it has every part of
its own fence and of this very call. So there is a checkpoint of all ranks or none: a rank that is missing means no
commit. Those above 0 learn the outcome where everybody does, in the log.

A restore has to give all ranks the same checkpoint, though each reads only its own part and damage shows to one of
them alone. So they vote: each says which checkpoint it found whole, rank 0 says which is the oldest of these, and who
has another one restores again.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from waypost.errors import ConfigurationError, StorageError
from waypost.log import logger
from waypost.store import keys
from waypost.store.calls import TOGETHER, Budget, Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, Complete, Entry, ManifestObject
from waypost.store.fetching import load_manifest
from waypost.store.following import FollowedLog
from waypost.store.group import Group
from waypost.store.info import CheckpointInfo
from waypost.store.manifest import Manifest
from waypost.store.parts import Call, Part, combined, decode
from waypost.store.saver import Job
from waypost.store.uploading import Uploaded, Uploads

T = TypeVar("T")

_TIDYING: Final = Budget(seconds=2.0)
_NANO: Final = 10**9


class Ranks:
    """One rank's side of the calls that all make together."""

    def __init__(
        self, calls: Calls, group: Group, fence: int, nonce: str, uploads: Uploads, together: Budget = TOGETHER
    ) -> None:
        """`nonce` names this process; `together` is how long it waits for the others."""
        self.group = group
        self._calls, self._fence, self._nonce, self._uploads, self._together = calls, fence, nonce, uploads, together
        self._ordinals = itertools.count(1)

    def next_ordinal(self) -> int:
        """The ordinal of the call that begins; to be asked once in each, also in one that fails."""
        return next(self._ordinals)

    def agree(
        self, deliver: Callable[[int | None], tuple[int, T] | None], ordinal: int, interrupt: Callable[[], None]
    ) -> T | None:
        """Restore until every rank has the same checkpoint, and return what `deliver` gave with that one.

        `deliver` restores the checkpoint it is given, or an ancestor (None: as the program asked), and says which.
        Each further round is a call with an ordinal of its own. Raises what `deliver` raises, StorageError when
        another rank doesn't take part, ConfigurationError when it makes another call.
        """
        waiting, first = self._calls.interruptible(interrupt, self._together), None
        while True:
            delivered = deliver(first)
            mine = None if delivered is None else delivered[0]
            verdict = self._vote(waiting, ordinal, mine)
            if verdict.agreed:
                return None if delivered is None else delivered[1]
            first, ordinal = verdict.sequence, self.next_ordinal()
            logger.warning(
                "%s: not every rank finds its part of checkpoint %s whole; all go back to %s", self.group, mine, first
            )

    def _vote(self, waiting: Calls, ordinal: int, mine: int | None) -> Part:
        """Say which checkpoint this rank has; returns what rank 0 says."""
        raise NotImplementedError

    def _part(self, ordinal: int, call: Call) -> Part:
        return Part(
            fence=self._fence,
            ordinal=ordinal,
            rank=self.group.rank,
            ranks=self.group.size,
            call=call,
            nonce=self._nonce,
        )

    def _put(self, part: Part) -> None:
        doing = f"write the part of rank {part.rank} ({part.call}) to"
        self._calls.put(doing, keys.part_key(part.fence, part.ordinal, part.rank), part.encode())

    def _look(self, waiting: Calls, ordinal: int, rank: int, call: Call) -> Part | None:
        """The part of a rank, None as long as there is none. Raises ConfigurationError when it is of another call."""
        doing = f"read the part of rank {rank} ({call}) in"
        try:
            raw = waiting.get(doing, keys.part_key(self._fence, ordinal, rank), keys.MAX_ENTRY)
            part = None if raw is None else decode(raw)
        except DamagedError as error:
            raise StorageError(doing, waiting.backend.uri, str(error)) from error
        if part is None:
            return None
        if (part.fence, part.ordinal, part.rank, part.ranks) != (self._fence, ordinal, rank, self.group.size):
            raise StorageError(doing, waiting.backend.uri, "what stands there is the part of another rank or group")
        if part.call is not call:
            raise ConfigurationError(
                f"the ranks of {waiting.backend.uri} are out of step: in their call number {ordinal} rank {rank} "
                f"begins a {part.call}, rank {self.group.rank} a {call}. Every rank has to restore, save and complete "
                "equally often and in the same order"
            )
        return part


class Leader(Ranks):
    """Rank 0: it holds the fence, waits for the parts of the others, and commits."""

    def upload(self, job: Job[CheckpointInfo]) -> Uploaded:
        """Upload this rank's content, and return what an entry says of all ranks' together.

        Raises StorageError naming the ranks that are missing, ConfigurationError when they save another step.
        """
        assert job.ordinal is not None
        own = self._uploads.pack(job.content)
        manifests = [own]
        for part in self.gather(job.ordinal, Call.SAVE):
            if part.step != job.step:
                raise ConfigurationError(
                    f"the ranks of {self._calls.backend.uri} are out of step: in their call number {job.ordinal} rank "
                    f"{part.rank} saves step {part.step}, rank 0 step {job.step}. Nothing was saved"
                )
            manifests.append(self._manifest(part))
        now = int(self._calls.seams.now().timestamp() * _NANO)
        try:
            whole = combined(manifests, now)
        except ValueError as error:
            raise ConfigurationError(f"can't save to {self._calls.backend.uri}: {error}") from error
        return self._uploads.describe(whole)

    def complete(self, ordinal: int) -> None:
        """Wait until every rank has said that it is done."""
        self.gather(ordinal, Call.COMPLETE)

    def gather(self, ordinal: int, call: Call, waiting: Calls | None = None) -> list[Part]:
        """The parts of the ranks above 0. Raises StorageError naming those that are missing when patience ends."""
        waiting = waiting or self._calls.interruptible(lambda: None, self._together)
        patience = waiting.patience()
        found: list[Part] = []
        for rank in range(1, self.group.size):
            while (part := self._look(waiting, ordinal, rank, call)) is None:
                if not patience.pause():
                    raise self._missing(waiting, ordinal, call, rank, patience.spent)
            found.append(part)
        return found

    def _missing(self, waiting: Calls, ordinal: int, call: Call, first: int, spent: str) -> StorageError:
        later = range(first + 1, self.group.size)
        missing = [first, *(rank for rank in later if self._look(waiting, ordinal, rank, call) is None)]
        unseated = [rank for rank in missing if not self._seated(waiting, rank)]
        advice = (
            "A checkpoint holds the parts of all ranks, or isn't made. Look for what ended these, or keeps them busy"
        )
        if unseated:
            advice = (
                f"Of these, {_list(unseated)} never opened the store. If rank 0 alone is to save, open the store there "
                "without group=, and nowhere else for writing"
            )
        return StorageError(
            f"{call}, with all ranks, the checkpoint of",
            waiting.backend.uri,
            f"nothing came from {_list(missing)} of {self.group.size} ({spent})",
            advice=advice,
        )

    def _seated(self, waiting: Calls, rank: int) -> bool:
        key = keys.part_key(self._fence, 0, rank)
        return waiting.get(f"look for rank {rank} in", key, keys.MAX_ENTRY) is not None

    def _manifest(self, part: Part) -> Manifest:
        """What a rank has uploaded for this very save, and nothing has named before (rule 5)."""
        assert part.manifest is not None
        doing = f"read what rank {part.rank} has uploaded to"
        try:
            packed = load_manifest(self._calls, part.manifest)
        except DamagedError as error:
            raise StorageError(doing, self._calls.backend.uri, str(error)) from error
        if not self._uploads.adopt(packed, part.rank):
            raise StorageError(
                doing, self._calls.backend.uri, "it names packs that aren't its own, or of an earlier save"
            )
        return packed

    def _vote(self, waiting: Calls, ordinal: int, mine: int | None) -> Part:
        found = [part.sequence for part in self.gather(ordinal, Call.RESTORE, waiting)]
        agreed = all(sequence == mine for sequence in found)
        oldest = min((sequence or 0 for sequence in [mine, *found]), default=0) or None
        verdict = dataclasses.replace(self._part(ordinal, Call.RESTORE), sequence=oldest, agreed=agreed)
        self._put(verdict)
        return verdict


class Member(Ranks):
    """A rank above 0: it uploads its part, says so, and reads in the log what became of it."""

    def __init__(
        self, log: FollowedLog, calls: Calls, group: Group, nonce: str, uploads: Uploads, together: Budget
    ) -> None:
        super().__init__(calls, group, log.fence, nonce, uploads, together)
        self._log = log

    def save(self, job: Job[CheckpointInfo]) -> Checkpoint:
        """Upload this rank's content and return the CHECKPOINT that holds it, once it stands.

        Raises StorageError, of outcome 'unknown' when nothing is heard of it, FencedError.
        """
        assert job.ordinal is not None
        uploaded = self._uploads.describe(self._uploads.pack(job.content))
        part = dataclasses.replace(self._part(job.ordinal, Call.SAVE), step=job.step, manifest=uploaded.manifest)
        try:
            self._put(part)
        except StorageError as error:
            error.outcome = "unknown"  # it may stand, and then rank 0 may commit
            raise
        doing = f"see the save number {job.ordinal} of all ranks committed in"

        def wanted(entry: Entry) -> Checkpoint | None:
            return entry if isinstance(entry, Checkpoint) and entry.ordinal == part.ordinal else None

        entry = self._log.follow(self._waiting(), doing, wanted)
        self._tidy(part)
        return entry

    def complete(self, ordinal: int) -> None:
        """Say that this rank is done, and wait for COMPLETE."""
        self._put(self._part(ordinal, Call.COMPLETE))

        def wanted(entry: Entry) -> Complete | None:
            return entry if isinstance(entry, Complete) else None

        self._log.follow(self._waiting(), "see the task completed in", wanted)

    def _vote(self, waiting: Calls, ordinal: int, mine: int | None) -> Part:
        ballot = dataclasses.replace(self._part(ordinal, Call.RESTORE), sequence=mine)
        self._put(ballot)
        patience = waiting.patience()
        while (verdict := self._look(waiting, ordinal, 0, Call.RESTORE)) is None:
            if not patience.pause():
                raise StorageError(
                    "restore, with all ranks, from",
                    waiting.backend.uri,
                    f"rank 0 doesn't say which checkpoint all have found whole ({patience.spent})",
                    advice="Every rank has to restore; to restore in one rank alone, name the checkpoint",
                )
        self._tidy(ballot)
        return verdict

    def _waiting(self) -> Calls:
        return self._calls.interruptible(lambda: None, self._together)

    def _tidy(self, part: Part) -> None:
        """Remove what rank 0 has read and nobody needs any more. What stays goes with the orphans of this fence."""
        try:
            tidying = self._calls.interruptible(lambda: None, _TIDYING)
            if isinstance(part.manifest, ManifestObject):
                tidying.delete("remove a part's manifest from", keys.MANIFESTS + part.manifest.name)
            tidying.delete("remove a part from", keys.part_key(part.fence, part.ordinal, part.rank))
        except StorageError as error:
            logger.warning("%s; it stays until a later attempt clears up", error)


def _list(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (", ..." if len(ranks) > 8 else "")
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}"
