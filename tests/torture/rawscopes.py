"""The log of a store without conditional writes as it lies on the disk, judged by docs/format.md ("Mode scoped") alone.

Which entries are the log follows from one of them, the newest of the highest scope that has more than a FENCE: the row
of scopes that it went on from. What it holds a log to: the scopes of the row rise, each begins with its BASE, which
goes on from the newest checkpoint below it; each entry is of its own scope's writer and carries the row up to there;
each checkpoint goes on from the one before it; what was confirmed stands in this log, whatever stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.torture.contents import Label
from tests.torture.rawlog import Entry, decode

_INVERSION = 10**20 - 1
_FENCE_NUMBER = 1
_NAME = re.compile(r"(([0-9]{20})-[0-9]{20}-[0-9a-f]{32})-([0-9]{20})\.json")


class Part(NamedTuple):
    """One scope's part of the log."""

    first: int
    scope: str


@dataclass(frozen=True)
class Log:
    """What the entry with authority says, and the entries that follow from it."""

    row: Sequence[Part]
    entries: Mapping[int, tuple[Part, Entry | None]]
    """By number, ascending: whose it is, and what it says. None: it is torn."""


def read_log(folder: Path, *, torn_files: bool) -> Log:
    """The log in the folder `log/` of a store.

    Raises ValueError for an entry that breaks the format, unless the place keeps `torn_files`: what a writer had put of
    an entry when it was killed, or of the stub of a pruned one.
    """
    found: dict[tuple[str, int], Entry | None] = {}
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path.name} in log/ is no entry's name")
        scope, sequence = match[1], _INVERSION - int(match[3])
        try:
            found[scope, sequence] = decode(path.read_bytes(), sequence)
        except ValueError:
            if not torn_files:
                raise
            found[scope, sequence] = None
    telling = [(scope, -sequence) for (scope, sequence), entry in found.items() if entry and sequence != _FENCE_NUMBER]
    if not telling:
        return Log((), {})
    highest, inverted = min(telling)
    row = _row(found[highest, -inverted])
    while len(before := _row(found.get((row[0].scope, row[0].first)))) > 1:
        row = before[:-1] + row  # a long row leaves its oldest scopes out
    entries: dict[int, tuple[Part, Entry | None]] = {}
    ends = [part.first for part in row[1:]] + [1 - inverted]
    for part, end in zip(row, ends, strict=True):
        numbers = sorted(number for scope, number in found if scope == part.scope and part.first <= number < end)
        entries |= {number: (part, found[part.scope, number]) for number in numbers}
    return Log(row, entries)


def judge(log: Log, confirmed: Mapping[int, Label]) -> list[str]:
    """What is wrong with this log, in sentences."""
    complaints = [
        f"scope {low.scope} at {low.first} is followed by {high.scope}, which isn't higher"
        for low, high in zip(log.row, log.row[1:], strict=False)
        if not high.scope < low.scope
    ]
    newest = {0}  # what the next checkpoint may go on from: the last one, or what is torn behind it
    for sequence, (part, entry) in log.entries.items():
        if entry is None:
            newest.add(sequence)
            continue
        kind, attempt = entry["type"], _INVERSION - int(part.scope[:20])
        who = f"entry {sequence}, a {kind} of attempt {entry['attempt']} under fence {entry['fence']},"
        if (kind == "BASE") != (sequence == part.first):
            complaints.append(f"{who} stands in a scope that holds the log from {part.first} on")
        if (entry["attempt"], entry["fence"]) != (attempt, part.first):
            complaints.append(f"{who} stands in the scope of attempt {attempt}: two wrote into one")
        if _row(entry)[-1:] != [part]:
            complaints.append(f"{who} says that it is of {_row(entry)[-1:]}, not of {part}")
        if kind == "BASE" and newest != {0} and not any(_is_live(number, entry) for number in newest):
            complaints.append(f"{who} doesn't go on from {max(newest)}: live are {entry['live']}")
        if kind == "CHECKPOINT":
            if (entry["parent"] or 0) not in newest:
                complaints.append(f"{who} goes on from {entry['parent']}, not from {max(newest)}")
            newest = {sequence}
    return complaints + [
        f"{label} was confirmed as {sequence}, where {log.entries.get(sequence, (None, 'nothing'))[1]} stands"
        for sequence, label in confirmed.items()
        if not _stands(log, sequence, label)
    ]


def _stands(log: Log, sequence: int, label: Label) -> bool:
    """Whether a confirmed save is there, or was pruned and its stub is torn."""
    _, entry = log.entries.get(sequence, (None, {"type": "nothing"}))
    if entry is None:
        newest = next(said for _, said in reversed(list(log.entries.values())) if said)
        return not _is_live(sequence, newest)
    return entry["type"] == "CHECKPOINT" and (entry["attempt"], entry["step"]) == label


def _is_live(sequence: int, entry: Entry) -> bool:
    return any(first <= sequence <= last for first, last in entry["live"])


def _row(entry: Entry | None) -> list[Part]:
    return [Part(first, scope) for first, scope in entry["scopes"]] if entry else []
