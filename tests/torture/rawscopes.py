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
    entries: Mapping[int, tuple[Part, Entry]]
    """By number, ascending: whose it is, and what it says."""


def read_log(folder: Path) -> Log:
    """The log in the folder `log/` of a store.

    Raises ValueError for an entry that breaks the format.
    """
    found: dict[tuple[str, int], Entry] = {}
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path.name} in log/ is no entry's name")
        scope, sequence = match[1], _INVERSION - int(match[3])
        found[scope, sequence] = decode(path.read_bytes(), sequence)
    telling = [(scope, -sequence) for scope, sequence in found if sequence != _FENCE_NUMBER]
    if not telling:
        return Log((), {})
    highest, inverted = min(telling)
    row = _row(found[highest, -inverted])
    while len(before := _row(found.get((row[0].scope, row[0].first)))) > 1:
        row = before[:-1] + row  # a long row leaves its oldest scopes out
    entries: dict[int, tuple[Part, Entry]] = {}
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
    newest = 0
    for sequence, (part, entry) in log.entries.items():
        kind, attempt = entry["type"], _INVERSION - int(part.scope[:20])
        who = f"entry {sequence}, a {kind} of attempt {entry['attempt']} under fence {entry['fence']},"
        if (kind == "BASE") != (sequence == part.first):
            complaints.append(f"{who} stands in a scope that holds the log from {part.first} on")
        if (entry["attempt"], entry["fence"]) != (attempt, part.first):
            complaints.append(f"{who} stands in the scope of attempt {attempt}: two wrote into one")
        if _row(entry)[-1:] != [part]:
            complaints.append(f"{who} says that it is of {_row(entry)[-1:]}, not of {part}")
        if kind == "BASE" and newest and not _is_live(newest, entry):
            complaints.append(f"{who} doesn't go on from {newest}: live are {entry['live']}")
        if kind == "CHECKPOINT":
            if (entry["parent"] or 0) != newest:
                complaints.append(f"{who} goes on from {entry['parent']}, not from {newest}")
            newest = sequence
    return complaints + [
        f"{label} was confirmed as {sequence}, where {_said(log, sequence)} stands"
        for sequence, label in confirmed.items()
        if _label(_said(log, sequence)) != label
    ]


def _said(log: Log, sequence: int) -> Entry:
    """What the log has under this number."""
    return log.entries[sequence][1] if sequence in log.entries else {"type": "nothing"}


def _label(entry: Entry) -> Label | None:
    return Label(entry["attempt"], entry["step"]) if entry["type"] == "CHECKPOINT" else None


def _is_live(sequence: int, entry: Entry) -> bool:
    return any(first <= sequence <= last for first, last in entry["live"])


def _row(entry: Entry | None) -> list[Part]:
    return [Part(first, scope) for first, scope in entry["scopes"]] if entry else []
