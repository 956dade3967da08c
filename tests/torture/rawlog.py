"""The store's log as it lies there, read and judged by the words of docs/format.md alone: nothing of Waypost is used.

What it holds a log to: no number is missing; attempts never fall; nothing of a writer stands behind another writer's
FENCE; every checkpoint goes on from the one before it (for nothing is damaged here); what was confirmed stands.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blake3 import blake3

from tests.torture.contents import Label

Read = Callable[[str], bytes | None]
"""The content of a key of the store, None when there is none."""
Entry = Mapping[str, Any]
OF_WRITERS = ("CHECKPOINT", "COMPLETE", "PRUNE")


def read_log(read: Read) -> list[Entry]:
    """Every entry from number 1 up to the first that is missing. Raises ValueError for one that breaks the format."""
    entries: list[Entry] = []
    for sequence in itertools.count(1):
        raw = read(f"log/{10**20 - 1 - sequence:020}.json")
        if raw is None:
            return entries
        entries.append(decode(raw, sequence))
    raise AssertionError("counts for ever")


def judge(entries: Sequence[Entry], confirmed: Mapping[int, Label]) -> list[str]:
    """What is wrong with this log, in sentences."""
    complaints: list[str] = []
    fence = attempt = newest = 0
    for entry in entries:
        kind, sequence = entry["type"], entry["sequence"]
        who = f"entry {sequence}, a {kind} of attempt {entry['attempt']} under fence {entry['fence']},"
        if kind == "FENCE":
            if entry["fence"] != sequence or entry["attempt"] < attempt:
                complaints.append(f"{who} comes after attempt {attempt}")
            fence, attempt = sequence, entry["attempt"]
        elif kind in OF_WRITERS and entry["fence"] != 0 and entry["fence"] != fence:
            complaints.append(f"{who} stands behind FENCE {fence} of attempt {attempt}: a zombie committed")
        elif kind == "CHECKPOINT" and entry["attempt"] != attempt:
            complaints.append(f"{who} isn't of the attempt that holds the fence, {attempt}")
        if kind == "CHECKPOINT":
            if (entry["parent"] or 0) != newest:
                complaints.append(f"{who} goes on from {entry['parent']}, not from {newest}")
            newest = sequence
    for sequence, label in confirmed.items():
        entry = entries[sequence - 1] if sequence <= len(entries) else {"type": "nothing"}
        if entry["type"] != "CHECKPOINT" or (entry["attempt"], entry["step"]) != label:
            complaints.append(f"{label} was confirmed as {sequence}, where {entry} stands")
    return complaints


def decode(raw: bytes, sequence: int) -> Entry:
    """The entry that stands under this number. Raises ValueError for one that breaks the format."""
    match = re.search(rb',"check":"([0-9a-f]{64})"\}\Z', raw)
    if match is None or blake3(raw[: match.start()]).hexdigest() != match[1].decode():
        raise ValueError(f"log entry {sequence} isn't whole: {raw[-100:]!r}")
    entry: Entry = json.loads(raw)
    if entry["sequence"] != sequence:
        raise ValueError(f"log entry {sequence} says that it is {entry['sequence']}")
    return entry
