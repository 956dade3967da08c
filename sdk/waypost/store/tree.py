"""A folder as a list of nodes: what a checkpoint keeps of it, and which names and links it accepts.

Kept: relative paths (as bytes, whatever their encoding), contents, permission bits, modification times, empty
folders, and symbolic links that stay inside. Not kept: owners, extended attributes, hard links (each name becomes a
file of its own). Refused, because a restore couldn't be faithful or safe: sockets, pipes, devices, and links that
lead out of the folder.

The same rules are applied to what is saved and to what a manifest says, which somebody else may have written: no
path is absolute, holds `..` or leads through a link, so that a restore can't write outside its folder.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import stat
from collections.abc import Iterator
from typing import Final

from waypost.errors import ConfigurationError
from waypost.store.pickled import by_values

MAX_NAME: Final = 255
MAX_PATH: Final = 4095
PERMISSIONS: Final = 0o777
LOST_AND_FOUND: Final = b"lost+found"
"""The file system's own folder in the root of a volume: neither saved nor taken for content."""

SNAPSHOTS: Final = b".waypost-snapshot-"
"""Names of the folders that saves under way have beside their sources: never content."""


class Kind(enum.StrEnum):
    """What a node is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@by_values
@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One file, folder or symbolic link, relative to the folder that is saved."""

    path: bytes
    kind: Kind
    mode: int = 0
    """Permission bits."""
    mtime_ns: int = 0
    size: int = 0
    target: bytes = b""
    """Of a link."""


def scan(root: bytes) -> list[Node]:
    """The nodes of a folder, every folder before what is in it. Raises OSError, and ConfigurationError."""
    nodes: list[Node] = []
    folders = [b""]
    while folders:
        below = folders.pop()
        with os.scandir(os.path.join(root, below)) as listing:
            found = sorted(listing, key=lambda item: item.name)
        above = below + b"/" if below else b""
        for item in found:
            if item.name == LOST_AND_FOUND and not below and os.path.ismount(root):
                continue
            if item.name.startswith(SNAPSHOTS):
                continue
            node = _node(root, above + item.name, item.stat(follow_symlinks=False))
            nodes.append(node)
            if node.kind is Kind.FOLDER:
                folders.append(node.path)
    return nodes


def _node(root: bytes, path: bytes, status: os.stat_result) -> Node:
    if stat.S_ISREG(status.st_mode):
        return file_node(path, status)
    if stat.S_ISDIR(status.st_mode):
        return Node(path, Kind.FOLDER, status.st_mode & PERMISSIONS, status.st_mtime_ns)
    if not stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(
            f"can't save {show(root)}: {show(path)} is a socket, pipe or device, which has no content to keep; remove "
            "it or keep it elsewhere"
        )
    target = os.readlink(os.path.join(root, path))
    if (problem := link_problem(path, target)) is not None:
        raise ConfigurationError(
            f"can't save {show(root)}: its symbolic link {show(path)} -> {show(target)} {problem}; only links to other "
            "parts of the same folder can be restored anywhere: replace it by what it leads to"
        )
    return Node(path, Kind.LINK, target=target)


def file_node(path: bytes, status: os.stat_result) -> Node:
    """The node of a regular file."""
    return Node(path, Kind.FILE, status.st_mode & PERMISSIONS, status.st_mtime_ns, status.st_size)


def path_problem(path: bytes) -> str | None:
    """What forbids this relative path; None if nothing does."""
    if not path or len(path) > MAX_PATH or b"\0" in path:
        return "is empty, too long or holds a NUL byte"
    for name in path.split(b"/"):
        if name in (b"", b".", b".."):
            return "isn't a plain relative path"
        if len(name) > MAX_NAME:
            return "has a part that is too long"
    return None


def parents(path: bytes) -> Iterator[bytes]:
    """The folders that a relative path lies in, innermost first."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def link_problem(path: bytes, target: bytes) -> str | None:
    """What forbids a link at `path` to `target`; None if it stays inside.

    `..` may only lead the target: behind a name it might follow another link, and end somewhere else than it reads.
    """
    if not target or len(target) > MAX_PATH or b"\0" in target:
        return "has an empty, overlong or malformed target"
    if target.startswith(b"/"):
        return "is absolute"
    names = [name for name in target.split(b"/") if name not in (b"", b".")]
    climbs = 0
    while climbs < len(names) and names[climbs] == b"..":
        climbs += 1
    if climbs > path.count(b"/"):
        return "leads out of the folder"
    if b".." in names[climbs:]:
        return "has '..' behind a name"
    return None


def show(path: bytes) -> str:
    """A path for messages."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode("utf-8")
