"""The model's invariants, held against the raw objects after every step, and against what each process was told.

I1 a live checkpoint has all its objects, with the content that was saved · I2 an entry, once there, stays; only a
pruned one may become a stub · I3 only the holder of the newest FENCE appends, and attempts never fall · I4 what was
confirmed stands as it was, what was called 'not saved' never does · I5 an attempt resumes from the newest live
checkpoint at its FENCE, and its saves follow in one lineage · I6 nothing but PRUNE, PIN and UNPIN after COMPLETE ·
I7 no gap · I8 a PRUNE spares the newest, what is pinned, and what the running attempt resumed from; retention counts
along the parents · I9 a fresh attempt alone can always go on · I12 a checkpoint of several ranks holds the parts of
all, of one fence and one save, and all resume from the same · I17 nobody begins from nothing where there is a store to
start from, nor from that store once a checkpoint was saved · R a reader is never told of damage where there is none,
nor given something older than what stood when it looked · I22 a store has one mode for ever · I23 a checkpoint names
only what its own fence uploaded and no checkpoint had named, or what a live checkpoint of that very fence names.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.simulator import stranger
from tests.simulator.place import LOG

Files = tuple[bytes, ...]
Origin = tuple[str, int]
"""URI and number of a checkpoint in the store that the task starts from."""
KEPT_IN_A_STUB = ("type", "sequence", "attempt", "fence", "nonce", "step", "parent", "time")


@dataclasses.dataclass
class Judge:
    """Watches one place (as its `Witness`), and keeps the ledger of what the processes were told."""

    objects: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    chief: Judge | None = None
    """Who keeps the verdict, if this one watches only the store that the task starts from."""
    source: Judge | None = None
    """Who watches that one."""
    verdict: str | None = None
    """The first violation."""
    met: Counter[str] = dataclasses.field(default_factory=Counter)
    """How often something worth counting came about."""
    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    live: set[int] = dataclasses.field(default_factory=set)
    pinned: set[int] = dataclasses.field(default_factory=set)
    newest_at: list[int] = dataclasses.field(default_factory=lambda: [0])
    """The newest live checkpoint behind each entry, 0 for none."""
    needs: dict[int, set[str]] = dataclasses.field(default_factory=dict)
    """The objects of every checkpoint."""
    pruned: set[int] = dataclasses.field(default_factory=set)
    """Ever."""
    stubs: set[int] = dataclasses.field(default_factory=set)
    damaged: set[str] = dataclasses.field(default_factory=set)
    """What was damaged behind everybody's back."""
    unreadable: bool = False
    """Whether an entry was: then what it recorded may be lost to all, and only the rest can be held."""
    holder: Mapping[str, Any] | None = None
    """The newest FENCE."""
    base: int | Origin = 0
    """What its writer goes on from."""
    origin: int = 0
    """What its writer resumed from, which stays live for as long as it holds the store."""
    committed: bool = False
    """Whether its writer has a CHECKPOINT."""
    completed: bool = False
    keeps: dict[int, int] = dataclasses.field(default_factory=dict)
    """By fence: how many checkpoints its writer's retention keeps."""
    saves: dict[int, Files] = dataclasses.field(default_factory=dict)
    """By step, which no two saves share: what a process was about to save."""
    parts: dict[tuple[int, int], Files] = dataclasses.field(default_factory=dict)
    """By step and rank: what one of several ranks was about to save."""
    agreed: dict[int, int] = dataclasses.field(default_factory=dict)
    """By fence: what its ranks were given to resume from."""
    not_saved: set[int] = dataclasses.field(default_factory=set)

    muted: bool = False
    """While a copy of a process lives its original's past again: nobody is told anything."""
    copies: bool = False
    """Whether there is one: then one fence may have two writers, who overtake each other."""

    def copy(self, chief: Judge | None = None) -> Judge:
        """Another watcher who knows the same; reports to `chief`, if there is one."""
        known = {field.name: copy.copy(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return Judge(**(known | {"chief": chief, "met": Counter() if chief is None else chief.met}))

    def blame(self, invariant: str, what: str) -> None:
        """Record a violation; the first one is the verdict."""
        if self.muted:
            return
        if self.chief is not None:
            self.chief.blame(invariant, f"in the store that the task starts from, {what}")
        elif self.verdict is None:
            self.verdict = f"{invariant}: {what}"

    # --- What happens to the objects -------------------------------------------------------------------------------
    def created(self, key: str, data: bytes) -> None:
        if not key.startswith(LOG):
            return
        if not stranger.is_numbered(key):
            self.blame("I22", f"{key} is no entry of this store's mode")
            return
        sequence = stranger.number(key)
        if sequence != len(self.records) + 1:
            self.blame("I7", f"entry {sequence} was put behind {len(self.records)} entries")
            return
        record = json.loads(data)
        self.records.append(record)
        self._appended(sequence, record)
        self.newest_at.append(max(self.live, default=0))

    def written(self, key: str, before: bytes | None, data: bytes) -> None:
        if key.startswith(LOG):
            if before is None or not stranger.is_numbered(key):
                self.blame("I22", f"{key} was put unconditionally, which isn't this store's mode")
            else:
                self._overwritten(stranger.number(key), data)
        elif before is not None and before != data and key not in self.damaged:
            self._require_unneeded(key, "overwritten")

    def deleted(self, key: str) -> None:
        self.met["deletes"] += 1
        if key.startswith(LOG):
            self.blame("I2", f"log entry {stranger.number(key)} was deleted")
        else:
            self._require_unneeded(key, "deleted")

    @property
    def resurrected(self) -> set[int]:
        """Live again because nobody can read any more what pruned them: who pruned them deletes them all the same."""
        return self.pruned if self.unreadable else set()

    def damage(self, key: str) -> None:
        """`key` was lost or altered."""
        self.met["damaged"] += 1
        self.damaged.add(key)
        self.unreadable = self.unreadable or key.startswith(LOG)

    def _require_unneeded(self, key: str, how: str) -> None:
        for sequence in self.live - self.resurrected:
            if key in self.needs.get(sequence, ()):
                self.blame("I1", f"{key} was {how}, and the live checkpoint {sequence} needs it")

    def _overwritten(self, sequence: int, data: bytes) -> None:
        self.met["stubs"] += 1
        self.stubs.add(sequence)
        old, new = self.records[sequence - 1], json.loads(data)
        if sequence in self.live - self.resurrected or old["type"] != "CHECKPOINT" or new.get("stub") is not True:
            self.blame("I2", f"entry {sequence}, a {old['type']}, was overwritten")
        elif any(old[member] != new[member] for member in KEPT_IN_A_STUB):
            self.blame("I2", f"the stub of entry {sequence} says something else than the entry did")

    def _appended(self, sequence: int, record: dict[str, Any]) -> None:
        kind = record["type"]
        if record["sequence"] != sequence:
            self.blame("I2", f"entry {sequence} says that it is {record['sequence']}")
        if kind == "FENCE":
            self._fenced(sequence, record)
        elif kind in ("CHECKPOINT", "COMPLETE"):
            self._require_holder(sequence, record)
            if self.completed:
                self.blame("I6", f"entry {sequence} is a {kind} behind COMPLETE")
            if kind == "CHECKPOINT":
                self._committed(sequence, record)
            self.completed = self.completed or kind == "COMPLETE"
        elif kind == "PRUNE":
            if record["fence"]:
                self._require_holder(sequence, record)
            self._pruned(sequence, record, self.newest_at[-1])
        elif kind == "PIN":
            self.pinned.add(record["target"])
        elif kind == "UNPIN":
            self.pinned.discard(record["target"])
        self.met[kind] += 1
        self._require_live(sequence, record)

    def _require_live(self, sequence: int, record: Mapping[str, Any]) -> None:
        """What an entry says about the state behind it is true; when entries are lost, it is what is known."""
        for member, truth in (("live", self.live), ("pinned", self.pinned)):
            said = stranger.sequences(record[member])
            if said != truth and not self.unreadable:
                self.blame(
                    "I8", f"entry {sequence}, a {record['type']}, says {member} {sorted(said)}; it is {sorted(truth)}"
                )
            truth.clear()
            truth |= said

    def _require_holder(self, sequence: int, record: Mapping[str, Any]) -> None:
        held = self.holder["sequence"] if self.holder else 0
        if record["fence"] != held:
            self.blame("I3", f"entry {sequence} is a {record['type']} of fence {record['fence']} behind FENCE {held}")

    def _fenced(self, sequence: int, record: Mapping[str, Any]) -> None:
        before = self.holder
        if before is not None and not self.unreadable:
            if record["attempt"] < before["attempt"]:
                self.blame("I3", f"FENCE {sequence} of attempt {record['attempt']} behind {before['attempt']}'s")
            if record["attempt"] == before["attempt"] and record["pod"] != before["pod"]:
                self.blame("I3", f"FENCE {sequence}: another pod of attempt {record['attempt']} took over")
            self.met["taken over"] += 1
        if self.completed and not self.unreadable:
            self.blame("I6", f"FENCE {sequence} behind COMPLETE")
        self.holder, self.base = record, self.newest_at[-1]
        self.origin, self.committed = self.newest_at[-1], False

    def _committed(self, sequence: int, record: Mapping[str, Any]) -> None:
        if stranger.parent(record) != self.base:
            self.blame("I5", f"checkpoint {sequence} has parent {record['parent']}; it goes on from {self.base}")
        elif not self._progress(record) > self._progress_at(self.base):
            self.blame("I5", f"checkpoint {sequence} has come no farther than {self.base}, from which it goes on")
        step = record["step"]
        if step in self.not_saved:
            self.blame("I4", f"checkpoint {sequence} is step {step}, whose save was called 'not saved'")
        self.needs[sequence] = stranger.named(record, self.objects) or set()
        self._require_may_name(sequence, record["fence"])
        if stranger.content(record, self.objects) != self._saved(record) and not self._is_damaged(sequence):
            invariant = "I1" if record.get("ranks") is None else "I12"
            self.blame(invariant, f"checkpoint {sequence} doesn't hold what was saved as step {step}")
        self.live.add(sequence)
        if record.get("prunes"):
            self._require_lineage_kept(sequence, record)
            self._pruned(sequence, record, sequence)
        self.base, self.committed = sequence, True

    def _require_may_name(self, sequence: int, fence: int) -> None:
        """Rule 5. `live` is still what it was right before the entry."""
        named = set[str]().union(*(needs for earlier, needs in self.needs.items() if earlier != sequence))
        own = {number for number in self.live if self.records[number - 1]["fence"] == fence}
        allowed = set[str]().union(*(self.needs.get(number, set()) for number in own))
        for key in self.needs[sequence] - allowed:
            if key in named or stranger.fence_of(key) != fence:
                self.blame("I23", f"checkpoint {sequence} of fence {fence} names {key}, which isn't its own to name")
        self.met["named again"] += len(self.needs[sequence] & allowed)

    def _require_lineage_kept(self, sequence: int, record: Mapping[str, Any]) -> None:
        """Retention counts along the parents: what a fall-back has left aside takes nobody's place (H17)."""
        gone, line, ancestor = stranger.sequences(record["prunes"]), list[int](), stranger.parent(record)
        while ancestor and isinstance(ancestor, int):
            if ancestor in self.live and ancestor not in self.pinned:
                line.append(ancestor)
            ancestor = stranger.parent(self.records[ancestor - 1])
        lost = gone.intersection(line[: self.keeps[record["fence"]] - 1])
        if lost and not self.unreadable:
            self.blame("I8", f"checkpoint {sequence} prunes {sorted(lost)}, of the last along its parents, {line}")

    def _pruned(self, sequence: int, record: Mapping[str, Any], newest: int) -> None:
        gone = stranger.sequences(record["prunes"])
        if newest in gone or gone & self.pinned or not (gone <= self.live or self.unreadable):
            self.blame("I8", f"entry {sequence} prunes {sorted(gone)} of {sorted(self.live)}, pinned {self.pinned}")
        if self.origin in gone and not self.completed:
            self.blame("I8", f"entry {sequence} prunes {self.origin}, which the running attempt resumed from")
        self.live -= gone
        self.pruned |= gone

    # --- What the processes are told -------------------------------------------------------------------------------
    def started(self, fence: int, keeps: int | None) -> None:
        """A writer was told that the store is its own; its retention keeps so many."""
        if keeps is not None:
            self.keeps[fence] = keeps

    def about_to_save(self, step: int, rank: int | None, files: Files) -> None:
        """What comes next is a save of this; no two saves have the same step, but those of the ranks of one fence."""
        if rank is None:
            self.saves[step] = files
        elif self.parts.setdefault((step, rank), files) is not files and not self.muted:
            self.blame("I12", f"two processes save as rank {rank} under one fence, step {step}")

    def resumed(self, fence: int, sequence: int, files: Files | None, picked: int = 0, rank: int | None = None) -> None:
        """A writer was given this checkpoint (0: told that there is none) to resume from, or had `picked` it."""
        if rank is not None and self.agreed.setdefault(fence, sequence) != sequence:
            self.blame("I12", f"of fence {fence} one rank was given {sequence}, another {self.agreed[fence]}")
        newest = self.newest_at[fence]
        if not (sequence == picked if picked else self._may_stand_for(newest, fence, sequence)):
            self.blame("I5", f"the writer of fence {fence} was given {sequence or 'nothing'}; {newest} was the newest")
        if not sequence and any(record["type"] == "CHECKPOINT" for record in self.records[:fence]):
            self.blame("I5", f"the writer of fence {fence} was told that nothing was saved yet")
        if not sequence and self.source is not None:
            self.blame("I17", f"the writer of fence {fence} began from nothing, though the task starts from a store")
        self._require_whole(sequence, files, rank)
        if self.holder is not None and self.holder["sequence"] == fence and not (self.muted or self.committed):
            self.base = self.origin = sequence
        if sequence and self.records[sequence - 1]["attempt"] != self.records[fence - 1]["attempt"]:
            self.met["resumed from another attempt"] += 1
        if sequence != newest and not picked:
            self.met["fell back"] += 1

    def began(self, fence: int, uri: str, floor: int, sequence: int, files: Files, named: int | None) -> None:
        """A writer was given a checkpoint of the source to begin from, the one `named` if one was.

        When it looked, `floor` was the newest there.
        """
        assert self.source is not None
        if any(record["type"] == "CHECKPOINT" for record in self.records[:fence]):
            self.blame(
                "I17", f"the writer of fence {fence} was sent back to where the task had begun, {uri}#{sequence}"
            )
        self.source.read(floor if named is None else 0, sequence, files)
        if named not in (None, sequence):
            self.blame("I17", f"the writer of fence {fence} was given {uri}#{sequence}; the task names {named}")
        if self.holder is not None and self.holder["sequence"] == fence and not (self.muted or self.committed):
            self.base = (uri, sequence)
        self.met["began from another store"] += 1

    def could_not_begin(self, floor: int, message: str) -> None:
        """A writer was told that the source holds nothing to begin from; when it looked, `floor` was the newest."""
        self.met["nothing to begin from"] += 1
        if floor and not self.damaged:
            self.blame("I17", f"a process was told: {message}; {floor} stands there")

    @property
    def may_be_started_from(self) -> bool:
        """Whether a task can begin from this store."""
        return bool(self.live) and not self.damaged

    def _progress_at(self, base: int | Origin) -> int:
        if not isinstance(base, int):
            assert self.source is not None
            return self.source._progress_at(base[1])
        return self._progress(self.records[base - 1]) if base else 0

    @staticmethod
    def _progress(record: Mapping[str, Any]) -> int:
        """How many saves of the program led to this one, its own included."""
        generation: int = record["metadata"]["generation"]
        return generation

    def _may_stand_for(self, newest: int, fence: int, given: int) -> bool:
        """Whether `given` is `newest`, or its nearest ancestor that is whole: every one that was passed is damaged."""
        live = stranger.sequences(self.records[fence - 1]["live"])
        candidates = [newest]
        while candidates:
            candidate = candidates.pop()
            if candidate == given:
                return True
            if candidate and (self._is_damaged(candidate) or candidate not in live & self.live):
                lower = max((one for one in live if one < candidate), default=0)
                if stranger.log_key(candidate) in self.damaged:
                    candidates.append(lower)  # nobody can read what its parent was
                parent = stranger.parent(self.records[candidate - 1])
                if parent and isinstance(parent, int):  # never into the store that the task has started from
                    candidates.append(parent)
        return False

    def _is_damaged(self, sequence: int) -> bool:
        if not self.damaged:
            return False
        needed = {stranger.log_key(sequence), *self.needs.get(sequence, ())}
        if not self.damaged.isdisjoint(needed):
            return True
        # what an unreadable entry pruned counts as live again, though its data are gone
        return self.unreadable and (sequence in self.stubs or any(key not in self.objects for key in needed))

    def read(self, floor: int, sequence: int, files: Files | None) -> None:
        """A reader was given this checkpoint; when it looked, `floor` was the newest."""
        if sequence < floor and not (self.damaged and sequence):
            self.blame("R", f"a reader was given {sequence or 'nothing'}; {floor} was the newest when it looked")
        self._require_whole(sequence, files)
        self.met["read"] += 1

    def _require_whole(self, sequence: int, files: Files | None, rank: int | None = None) -> None:
        if not sequence:
            return
        record = self.records[sequence - 1]
        saved = self._saved(record) if rank is None else self.parts.get((record["step"], rank))
        if files != saved:
            self.blame("I4", f"checkpoint {sequence} was restored as {files}")

    def _saved(self, record: Mapping[str, Any]) -> Files | None:
        """What this CHECKPOINT has to hold: of several ranks a folder for each, with its part. None: nobody knows."""
        step, ranks = record["step"], record.get("ranks")
        if ranks is None:
            return self.saves.get(step)
        parts = [self.parts.get((step, rank)) for rank in range(ranks)]
        if None in parts:
            self.blame("I12", f"step {step} of {ranks} ranks was committed, and not all had begun to save it")
        return tuple(one for part in parts for one in (b"", *(part or ())))

    def confirmed(self, fence: int, sequence: int, step: int) -> None:
        """A writer was told that its save stands."""
        record = self.records[sequence - 1] if 0 < sequence <= len(self.records) else {}
        if record.get("type") != "CHECKPOINT" or record["step"] != step or record["fence"] != fence:
            self.blame("I4", f"step {step} of fence {fence} was confirmed as entry {sequence}, {_brief(record)}")
        self.met["saves confirmed"] += 1

    def failed(self, step: int, outcome: str) -> None:
        """A writer was told that its save failed."""
        self.met[f"saves failed, {outcome}"] += 1
        if outcome == "not saved" and not self.copies:
            self.not_saved.add(step)
            if any(record.get("step") == step for record in self.records):
                self.blame("I4", f"step {step} was called 'not saved', and stands")

    def was_completed(self, fence: int | None) -> None:
        """Somebody was told that the task is complete: the writer of `fence` by its own COMPLETE, or a starter."""
        if not self.completed:
            self.blame("I6", f"fence {fence} was told that the task is complete; it isn't")
        self.met["told complete"] += 1

    def was_told_of_damage(self, invariant: str, message: str) -> None:
        """Somebody was told that no checkpoint is left that is whole."""
        self.met["told of damage"] += 1
        if not self.damaged:
            self.blame(invariant, f"a process was told: {message}")

    def was_pruned(self, sequence: int) -> None:
        """Somebody who asked for this checkpoint was told that it isn't live."""
        self.met["told pruned"] += 1
        if sequence in self.live:
            self.blame("R", f"checkpoint {sequence} was called pruned; it is live")

    def was_fenced(self, fence: int) -> None:
        """The writer of `fence` was told that it has been overtaken."""
        if (self.holder is None or self.holder["sequence"] == fence) and not (self.unreadable or self.copies):
            self.blame("I3", f"the writer of fence {fence} was told that it was overtaken; it wasn't")
        self.met["fenced"] += 1

    def was_refused(self, attempt: int, pod: str) -> None:
        """A starter was told that the store belongs to a higher attempt, or to another pod of its own."""
        known = self.holder
        self.met["refused"] += 1
        if self.unreadable:
            return
        if known is None or known["attempt"] < attempt or (known["attempt"] == attempt and known["pod"] == pod):
            self.blame("I3", f"attempt {attempt} in pod {pod} was refused; the newest FENCE is {_brief(known)}")


def _brief(record: Mapping[str, Any] | None) -> str:
    """An entry, for messages."""
    if not record:
        return "which doesn't exist"
    return ", ".join(f"{name} {record[name]}" for name in ("type", "attempt", "fence", "step", "pod") if name in record)
