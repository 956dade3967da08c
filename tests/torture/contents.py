"""What the writers save: every file tells whose state it belongs to, so a mixture can't pass for a state.

A state is a tree, or bytes; small ones stand in their log entry, large ones need packs. Which it is follows from the
step, so that who judges knows what has to be there from the label alone.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.torture.errors import TortureError

LARGE = 200_000
HUGE = 1_200_000
"""What the process beside the writer uploads."""
BYTES_NAME = "_dst_cp"
"""Bytes come back as a file of this name (docs/format.md)."""
Tree = Mapping[str, bytes]
"""Relative paths to contents; an empty folder ends with a slash."""


class Label(NamedTuple):
    """Which state it is: the attempt that made it, and its step."""

    attempt: int
    step: int


def state_of(label: Label) -> Tree:
    """The files of a state."""
    chance = random.Random(label.attempt * 1_000_003 + label.step)
    match label.step % 5:
        case 0:
            return {BYTES_NAME: _filled(label, BYTES_NAME, chance.randrange(40, 4000))}
        case 1:
            return {BYTES_NAME: _filled(label, BYTES_NAME, HUGE if label.step % 2 else LARGE)}
        case 2:
            names = [f"part-{number}" for number in range(chance.randrange(1, 8))]
            return {name: _filled(label, name, chance.randrange(40, 3000)) for name in names}
        case 3:
            sizes = {"large": HUGE, "deep/er/large": LARGE // 2, "deep/small": 100, "small": 60}
            return {name: _filled(label, name, size) for name, size in sizes.items()} | {"empty/": b""}
        case _:
            names = [f"shard-{number:02}/data" for number in range(24)]
            return {name: _filled(label, name, chance.randrange(1000, 8000)) for name in names}


def is_bytes(tree: Tree) -> bool:
    """Whether this state is saved as bytes, not as a folder."""
    return list(tree) == [BYTES_NAME]


def write_tree(tree: Tree, folder: Path) -> None:
    """Make a new folder hold this tree."""
    folder.mkdir()
    for name, content in tree.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def read_tree(folder: Path) -> Tree:
    """What a folder holds."""
    tree: dict[str, bytes] = {}
    for parent, folders, files in os.walk(folder):
        where = Path(parent)
        for name in files:
            tree[str((where / name).relative_to(folder))] = (where / name).read_bytes()
        if not folders and not files and where != folder:
            tree[f"{where.relative_to(folder)}/"] = b""
    return tree


def identify(tree: Tree) -> Label:
    """Which state a tree is, exactly and as a whole. Raises TortureError for anything else."""
    first = next((content for content in tree.values() if content), b"")
    try:
        attempt, step = first.partition(b"|")[0].split(b".")
        label = Label(int(attempt), int(step))
    except ValueError:
        raise TortureError(f"no state at all: {sorted(tree)}") from None
    expected = state_of(label)
    if tree != expected:
        differing = {name for name in tree.keys() | expected.keys() if tree.get(name) != expected.get(name)}
        raise TortureError(f"not the whole state {label}: {sorted(differing)} differ, there are {sorted(tree)}")
    return label


def _filled(label: Label, name: str, size: int) -> bytes:
    word = f"{label.attempt}.{label.step}|{name}|".encode()
    return (word * (size // len(word) + 1))[:size]
