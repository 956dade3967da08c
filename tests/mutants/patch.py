"""A mutant as it lies in `patches/`: a header for people, the killers' names, and a unified diff."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("patches")
FIELDS = ("Promise", "Breaks", "Killer")


class PatchError(ValueError):
    """A file in `patches/` that says too little."""


@dataclass(frozen=True)
class Mutant:
    """One way to break one promise."""

    name: str
    promise: str
    breaks: str
    killers: tuple[str, ...]
    path: Path

    @classmethod
    def read(cls, path: Path) -> Mutant:
        """Read a patch file. Raises PatchError when a part of its header is missing."""
        found = read_header(path, FIELDS)
        return cls(path.stem, found["Promise"][0], found["Breaks"][0], tuple(found["Killer"]), path)


def read_header(path: Path, fields: tuple[str, ...]) -> dict[str, list[str]]:
    """What stands ahead of the diff, by field. Raises PatchError when a field or the diff is missing."""
    head, separator, _ = path.read_text(encoding="utf-8").partition("\n--- ")
    found: dict[str, list[str]] = {field: [] for field in fields}
    for line in head.splitlines():
        match = re.fullmatch(rf"({'|'.join(fields)}): (.+)", line)
        if match:
            found[match[1]].append(match[2].strip())
    missing = [field for field, values in found.items() if not values]
    if missing or not separator:
        raise PatchError(f"{path.name}: {', '.join(missing) or 'the diff'} is missing")
    return found


def all_mutants() -> list[Mutant]:
    """Every mutant, by its number."""
    return [Mutant.read(path) for path in sorted(FOLDER.glob("*.patch"))]
