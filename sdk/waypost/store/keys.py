"""The names in a store, and the bounds of what they hold.

Numbers of log entries are inverted, so that a LIST, which goes in byte order, gives the newest first. A pack's name
carries its writer's fence, the ordinal of the upload in that process, and its hash: a name is used by one upload
only, so one that a PRUNE has condemned can never come back to life (rule 5).
"""

from __future__ import annotations

import re
from typing import Final

from waypost.backends import protocol
from waypost.store.sequences import MAX_SEQUENCE

FORMAT_KEY: Final = "format.json"
LOG: Final = "log/"
PACKS: Final = "packs/"
MANIFESTS: Final = "manifests/"
PROBE: Final = protocol.PROBE
PARTS: Final = "parts/"

KIB: Final = 1024
MIB: Final = 1024 * KIB
MAX_ENTRY: Final = 1 * MIB
"""Larger bodies draw an early 412, which clients were seen to report as a broken connection (from 4 MiB)."""
MAX_INLINE: Final = 64 * KIB
"""Content, and manifest, up to this size stand inside the entry: one PUT is the whole save."""
MAX_ANNOTATIONS: Final = 64 * KIB
"""Metrics and metadata together, as JSON."""
PACK_TARGET: Final = 25 * MIB
"""A pack is closed once the next chunk doesn't fit into this."""
PACKS_IN_MEMORY: Final = 3 * PACK_TARGET
"""Two on their way and one that is being filled; or more of them, and smaller."""
MAX_CHUNK: Final = 16 * MIB
MAX_PACK: Final = 32 * MIB
MAX_MANIFEST: Final = 64 * MIB
"""Some 500,000 files, or 10 TB in one."""

_INVERSION: Final = 10**20 - 1
_LOG_KEY: Final = re.compile(r"log/([0-9]{20})\.json", re.ASCII)
_OBJECT_NAME: Final = re.compile(r"([0-9]{20})-([0-9]{1,20})-[0-9a-f]{64}", re.ASCII)

Upload = tuple[int, int]
"""Whose upload an object comes from: the fence of its writer, and the ordinal of the upload under that fence."""
_PART_KEY: Final = re.compile(r"parts/([0-9]{20})-[0-9]{1,20}-[0-9]{1,20}\.json", re.ASCII)


def log_key(sequence: int) -> str:
    """Key of the entry with this number."""
    return f"{LOG}{_INVERSION - sequence:020d}.json"


def log_sequence(key: str) -> int | None:
    """Number of the entry under this key; None for keys that are no entries (directory markers, strangers' files)."""
    match = _LOG_KEY.fullmatch(key)
    if match is None:
        return None
    sequence = _INVERSION - int(match[1])
    return sequence if 1 <= sequence <= MAX_SEQUENCE else None


def object_name(fence: int, ordinal: int, digest: str) -> str:
    """Name of a pack or a manifest: who uploaded it, in which upload, with what content."""
    return f"{fence:020d}-{ordinal}-{digest}"


def part_key(fence: int, ordinal: int, rank: int) -> str:
    """Key of what one rank says in one call that all ranks of a group make together."""
    return f"{PARTS}{fence:020d}-{ordinal}-{rank}.json"


def is_object_name(name: object) -> bool:
    """Whether this is the name of a pack or a manifest, and so nothing that leads elsewhere in the store."""
    return isinstance(name, str) and _OBJECT_NAME.fullmatch(name) is not None


def part_fence(key: str) -> int | None:
    """Under which fence a part was put; None for a key that is no part's."""
    match = _PART_KEY.fullmatch(key)
    return None if match is None else int(match[1])


def upload_of(name: str) -> Upload | None:
    """Which upload a pack or a manifest comes from, by its name; None for what isn't named by this format."""
    match = _OBJECT_NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))
