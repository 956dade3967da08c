"""Files that need not be read to know that they are as they were: a stat is enough, where a stat can be believed.

The same inode, size, and times of content and inode mean the same content only if a write can't have gone by unseen.
Three ways are known in which one can, and each is closed:

- Times are as fine as the system's tick (or as seconds, on some file systems): who writes twice within one leaves the
  same time. So times have to be older than any tick when the file is looked at.
- A write through a shared mapping moves the time only when its page was clean. A page that stays dirty may be written
  again and again unseen, until the system has written it back (half a minute by default). So times have to be older
  than that: a minute. And a file that a process maps for writing, as far as that can be seen, isn't settled.
- Some file systems never tell of writes through mappings (tmpfs), or cache what others write (NFS). So only those
  count that do tell: ext4 and xfs, on a disk of this machine.

A file that isn't settled is read, which costs half a second for each GiB.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from waypost.store.sources import Content
from waypost.store.tree import Kind, Node

SETTLES_AFTER: Final = 60 * 10**9
"""Nanoseconds."""
_TELL: Final = frozenset({"ext2", "ext3", "ext4", "xfs"})


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """A file as it was."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Settled:
    """Which files of a content have an identity that can be believed."""

    def __init__(self, now: Callable[[], int] = time.time_ns, proc: Path = Path("/proc")) -> None:
        self._now, self._proc = now, proc

    def identities(self, content: Content) -> Mapping[int, Identity]:
        """By index, the identities of its settled files, to be asked before they are read."""
        if content.copied:
            return {}  # a copy is a new file each time
        now = self._now()
        found = {}
        for index, (node, place) in enumerate(zip(content.nodes, content.places, strict=True)):
            if node.kind is Kind.FILE and node.size and isinstance(place, bytes):
                identity = _look(place, node)
                if identity is not None and max(identity.mtime_ns, identity.ctime_ns) + SETTLES_AFTER < now:
                    found[index] = identity
        devices = self._devices() if found else ()
        told = {index: identity for index, identity in found.items() if identity.device in devices}
        mapped = set(self._mapped()) if told else ()  # every process is looked at
        return {index: one for index, one in told.items() if (one.device, one.inode) not in mapped}

    def _devices(self) -> frozenset[int]:
        """Where a write is always told of."""
        found = set()
        with contextlib.suppress(OSError):
            for line in (self._proc / "self" / "mountinfo").read_text(errors="replace").splitlines():
                words, _, behind = line.partition(" - ")
                if behind.split(" ", 1)[0] in _TELL:
                    major, _, minor = words.split(" ")[2].partition(":")
                    found.add(os.makedev(int(major), int(minor)))
        return frozenset(found)

    def _mapped(self) -> Iterator[tuple[int, int]]:
        """Device and inode of what any process that can be seen maps shared and for writing."""
        for process in self._proc.glob("[0-9]*"):
            with contextlib.suppress(OSError):
                for line in (process / "maps").read_text(errors="replace").splitlines():
                    words = line.split(None, 5)
                    if "w" in words[1] and "s" in words[1] and words[4] != "0":
                        major, _, minor = words[3].partition(":")
                        yield os.makedev(int(major, 16), int(minor, 16)), int(words[4])


def _look(place: bytes, node: Node) -> Identity | None:
    try:
        status = os.stat(place, follow_symlinks=False)
    except OSError:
        return None  # whoever reads it will say what is wrong
    if (status.st_size, status.st_mtime_ns) != (node.size, node.mtime_ns):
        return None
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
