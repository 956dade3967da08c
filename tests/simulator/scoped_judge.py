"""The same judgement where the place has no conditional writes, by the rules of mode scoped (docs/format.md).

There each writer has keys of its own, and the newest entry of the highest scope that has more than its FENCE says what
the log is: it has the authority. So nothing has to follow a gapless row of numbers here; what is held is that no key
is ever written twice with different content (I2), that whoever is told "started", "saved" or "complete" has the
authority at that moment (I3), that everything confirmed stays among the ancestors of what has it (I4), and that what
it calls live is found and whole (I1). Fences grow with scopes. The rest is the other judge's.

The place is asked for consistent listings in this mode, so none of its faults is a LIST that lags.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tests.simulator import stranger
from tests.simulator.judge import KEPT_IN_A_STUB, Files, Judge
from tests.simulator.place import LOG

At = tuple[str, int]
"""The name of a scope, and a number in it. A higher scope has a name that sorts first."""
NOBODY: At = ("", 0)


@dataclasses.dataclass
class ScopedJudge(Judge):
    """Watches a place without conditional writes."""

    entries: dict[At, dict[str, Any]] = dataclasses.field(default_factory=dict)
    written_before: dict[str, bytes] = dataclasses.field(default_factory=dict)
    """What was put first under each key of the log."""
    top: At = NOBODY
    """The entry with authority."""
    scopes: dict[int, str] = dataclasses.field(default_factory=dict)
    """Of each fence that was told that it has started."""
    known: dict[str, list[tuple[int, int]]] = dataclasses.field(default_factory=dict)
    """By scope: each entry of its own behind which its writer went on, and the checkpoint that it went on from."""
    last: At = NOBODY
    """The last checkpoint that was confirmed to anybody."""
    ended: At = NOBODY
    """The COMPLETE that was confirmed."""

    # --- What happens to the objects -------------------------------------------------------------------------------
    def created(self, key: str, data: bytes) -> None:
        self.written(key, None, data)

    def written(self, key: str, before: bytes | None, data: bytes) -> None:
        if not key.startswith(LOG):
            super().written(key, before, data)
        elif before is None:
            self._put(key, data)
        elif data != self.written_before[key]:
            self._shrunk(key, data)

    def _shrunk(self, key: str, data: bytes) -> None:
        at = stranger.placed(key)
        old, new = json.loads(self.written_before[key]), json.loads(data)
        live = at is not None and at[1] in self.live and self._holder(at[1]) == at
        if live or old["type"] != "CHECKPOINT" or new.get("stub") is not True:
            self.blame("I2", f"{key}, a {old['type']}, was overwritten")
        elif any(old[member] != new[member] for member in KEPT_IN_A_STUB):
            self.blame("I2", f"the stub under {key} says something else than the entry did")
        self.met["stubs"] += 1

    def _put(self, key: str, data: bytes) -> None:
        at = stranger.placed(key)
        if at is None:
            self.blame("I22", f"{key} is an entry of another mode")
            return
        record = json.loads(data)
        self.written_before[key] = data
        self.entries[at] = record
        self.records.append(record)
        self.met[record["type"]] += 1
        if (
            record["sequence"] != at[1]
            or record["scopes"][-1][1] != at[0]
            or (at[1] == 1) != (record["type"] == "FENCE")
        ):
            self.blame("I2", f"what stands under {key} is entry {record['sequence']} of {record['scopes'][-1][1]}")
        if record["type"] == "CHECKPOINT":
            self._require_sound(at, record)
        if at[1] > 1:
            self._weigh(at)
        self.newest_at.append(self.newest_at[-1])

    def _require_sound(self, at: At, record: dict[str, Any]) -> None:
        scope, sequence = at
        before, base = next(known for known in reversed(self.known[scope]) if known[0] < sequence)  # it may come late
        if (record["parent"] or 0) != base:
            self.blame("I5", f"checkpoint {sequence} has parent {record['parent']}; it goes on from {base}")
        gone = stranger.sequences(record.get("prunes", []))
        live = stranger.sequences(self.entries[scope, before]["live"]) | {sequence}
        if not gone < live or sequence in gone or self.known[scope][0][1] in gone:
            self.blame("I8", f"checkpoint {sequence} prunes {sorted(gone)} of {sorted(live)}")
        if stranger.sequences(record["live"]) != live - gone:
            self.blame("I8", f"checkpoint {sequence} says live {record['live']}; it is {sorted(live - gone)}")
        if record["step"] in self.not_saved:
            self.blame("I4", f"checkpoint {sequence} is step {record['step']}, whose save was called 'not saved'")

    def _weigh(self, at: At) -> None:
        """Whether this entry has the authority now, and may have it."""
        if self.top != NOBODY and (at[0] > self.top[0] or (at[0] == self.top[0] and at[1] < self.top[1])):
            return
        if self.ended != NOBODY:
            self.blame("I6", f"entry {at[1]} of {at[0]} stands above COMPLETE")
        self.top, record = at, self.entries[at]
        self.completed = record["type"] == "COMPLETE"
        self.live, self.needs = stranger.sequences(record["live"]), {}
        for number in self.live:
            checkpoint = self.entries.get(self._holder(number), {})
            if checkpoint.get("type") != "CHECKPOINT":
                self.blame("I1", f"entry {at[1]} of {at[0]} calls {number} live, which isn't found by its scopes")
                continue
            self.needs[number] = stranger.named(checkpoint, self.objects) or set()
            if stranger.content(checkpoint, self.objects) != self._saved(checkpoint):
                self.blame("I1", f"entry {at[1]} of {at[0]} calls {number} live, which isn't whole")
        if self.last != NOBODY and self.last not in self._lineage():
            self.blame("I4", f"{self.last[1]} was confirmed, and is no ancestor of entry {at[1]} of {at[0]}")

    def _holder(self, number: int) -> At:
        """Whose entry this number is, by the row of scopes of what has the authority."""
        row = self.entries[self.top]["scopes"]
        return next((name for first, name in reversed(row) if first <= number), ""), number

    def _lineage(self) -> list[At]:
        """The newest live checkpoint, and its ancestors."""
        line, number = [], max(self.live, default=0)
        while number:
            line.append(self._holder(number))
            number = self.entries.get(line[-1], {}).get("parent") or 0
        return line

    # --- What the processes are told -------------------------------------------------------------------------------
    def started(self, fence: int, keeps: int | None) -> None:
        name = min(scope for scope, number in self.entries if number == fence)
        super().started(fence, keeps)
        if (name, fence) != self.top or min(scope for scope, _ in self.entries) != name:
            self.blame("I3", f"the writer of fence {fence} was told that it has started; it was overtaken already")
        if any(other >= fence for other in self.scopes):
            self.blame("I3", f"fence {fence} is no higher than one of a lower scope, {max(self.scopes)}")
        self.scopes[fence] = name
        self.met["taken over"] += len(self.scopes) > 1

    def resumed(self, fence: int, sequence: int, files: Files | None, picked: int = 0, rank: int | None = None) -> None:
        scope = self.scopes[fence]
        newest = max(stranger.sequences(self.entries[scope, fence]["live"]), default=0)
        if sequence != newest:
            self.blame("I5", f"the writer of fence {fence} was given {sequence or 'nothing'}; {newest} was the newest")
        self._require_whole(sequence, files)
        self.known[scope] = [(fence, sequence)]
        self.met["resumed from another attempt"] += sequence > 0

    def confirmed(self, fence: int, sequence: int, step: int) -> None:
        at = (self.scopes[fence], sequence)
        if self.known[at[0]][-1] == (sequence, sequence):
            return  # told the document of the attempt before the program
        record = self.entries.get(at, {})
        if record.get("type") != "CHECKPOINT" or record["step"] != step:
            self.blame("I4", f"step {step} of fence {fence} was confirmed as entry {sequence}, which it isn't")
        if at != self.top or min(scope for scope, _ in self.entries) != at[0]:
            self.blame("I3", f"entry {sequence} of fence {fence} was confirmed; it had been overtaken")
        self.last, self.newest_at[-1] = at, sequence
        self.known[at[0]].append((sequence, sequence))
        self.met["saves confirmed"] += 1

    def was_completed(self, fence: int | None) -> None:
        if fence is None:
            if not any(record["type"] == "COMPLETE" for record in self.records):
                self.blame("I6", "a starter was told that the task is complete; it isn't")
        elif self.entries.get(self.top, {}).get("type") != "COMPLETE" or self.top[0] != self.scopes[fence]:
            self.blame("I6", f"fence {fence} was told that the task is complete; it isn't")
        else:
            self.ended = self.top
        self.met["told complete"] += 1

    def was_fenced(self, fence: int) -> None:
        if not any(scope < self.scopes[fence] for scope, _ in self.entries):
            self.blame("I3", f"the writer of fence {fence} was told that it was overtaken; it wasn't")
        self.met["fenced"] += 1

    def was_refused(self, attempt: int, pod: str) -> None:
        fences = [record for (_, number), record in self.entries.items() if number == 1]
        higher = any(record["attempt"] > attempt for record in fences)
        same = [record["pod"] for record in fences if record["attempt"] == attempt]
        if not higher and len(same) < 2 and same in ([], [pod]):
            self.blame("I3", f"attempt {attempt} in pod {pod} was refused, and nobody else is there")
        self.met["refused"] += 1

    def _require_whole(self, sequence: int, files: Files | None, rank: int | None = None) -> None:
        standing = [record for (_, number), record in self.entries.items() if number == sequence]
        if sequence and not any(self.saves.get(record.get("step", 0)) == files for record in standing):
            self.blame("I4", f"checkpoint {sequence} was restored as {files}")
