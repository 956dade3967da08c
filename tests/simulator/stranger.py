"""Reads a store's raw objects without the SDK: a witness that shares none of its code can't share its mistakes.

Only what docs/format.md says, and no more of it than the judge needs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

INVERSION = 10**20 - 1


def number(key: str) -> int:
    """Sequence number of a log key."""
    return INVERSION - int(key[4:24])


def is_numbered(key: str) -> bool:
    """Whether this is the key of a log entry by its number alone, as mode conditional has them."""
    return len(key) == len(log_key(0)) and key[4:24].isdigit()


def placed(key: str) -> tuple[str, int] | None:
    """The name of the scope, and the number in it, of a log key of mode scoped; None for any other."""
    name, dash, rest = key.removeprefix("log/").rpartition("-")
    if len(name) != 74 or not dash or len(rest) != 25 or not rest.endswith(".json"):
        return None
    return name, INVERSION - int(rest[:20])


def log_key(sequence: int) -> str:
    """Key of a log entry."""
    return f"log/{INVERSION - sequence:020d}.json"


def fence_of(key: str) -> int:
    """Under which fence an object was uploaded, by its name."""
    return int(key.rpartition("/")[2][:20])


def sequences(ranges: list[list[int]]) -> set[int]:
    """The numbers in `[[first, last], …]`."""
    return {one for first, last in ranges for one in range(first, last + 1)}


def parent(record: Mapping[str, Any]) -> int | tuple[str, int]:
    """What a CHECKPOINT goes on from: 0 for nothing, URI and number for one of another store."""
    found = record["parent"]
    return (found["uri"], found["sequence"]) if isinstance(found, dict) else found or 0


def named(record: Mapping[str, Any], objects: Mapping[str, bytes]) -> set[str] | None:
    """Keys of all objects that a CHECKPOINT needs; None when its manifest is missing, so nobody can say."""
    reference = record.get("manifestObject")
    keys = set()
    if reference is not None:
        keys.add(f"manifests/{reference['name']}")
    manifest = _manifest(record, objects)
    if manifest is None:
        return None
    keys.update(f"packs/{pack['name']}" for pack in manifest["packs"] if pack["name"] != "inline")
    return keys


def content(record: Mapping[str, Any], objects: Mapping[str, bytes]) -> tuple[bytes, ...] | None:
    """The files of a CHECKPOINT; None when an object is missing or too short."""
    manifest = _manifest(record, objects)
    if manifest is None:
        return None
    packs = []
    for pack in manifest["packs"]:
        if pack["name"] == "inline":
            packs.append(base64.b64decode(record["data"]))
        elif (data := objects.get(f"packs/{pack['name']}")) is not None:
            packs.append(data)
        else:
            return None
    return tuple(
        b"".join(packs[pack][offset : offset + length] for pack, offset, length, _ in node.get("chunks", ()))
        for node in manifest["nodes"]
    )


def _manifest(record: Mapping[str, Any], objects: Mapping[str, bytes]) -> Mapping[str, Any] | None:
    reference = record.get("manifestObject")
    if reference is None:
        return record.get("manifest")
    raw = objects.get(f"manifests/{reference['name']}")
    return None if raw is None else json.loads(raw)
