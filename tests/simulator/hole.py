"""A hole as it lies in `holes/`: which one of the protocol's it puts back, and which invariant must fall."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.mutants.patch import read_header

FOLDER = Path(__file__).with_name("holes")
FIELDS = ("Hole", "Breaks", "Notices")


@dataclass(frozen=True)
class Hole:
    """One way in which an earlier design lost progress."""

    name: str
    hole: str
    breaks: str
    notices: tuple[str, ...]
    """The invariants of which one must fall."""
    path: Path

    @classmethod
    def read(cls, path: Path) -> Hole:
        """Read a patch file. Raises PatchError when a part of its header is missing."""
        found = read_header(path, FIELDS)
        return cls(path.stem, found["Hole"][0], found["Breaks"][0], tuple(found["Notices"][0].split()), path)


def all_holes() -> list[Hole]:
    """Every hole, by its number."""
    return [Hole.read(path) for path in sorted(FOLDER.glob("*.patch"))]
