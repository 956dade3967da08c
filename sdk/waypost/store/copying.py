"""A snapshot by a copy, where there is nothing better: into memory while it is small, else to files under TMPDIR.

Memory needs no writable disk. Files are copied by the kernel (copy_file_range, or sendfile from one file system to
another), so that no bytes come into this process, by a few threads: one core doesn't fill the memory bus of a large
machine. Holes stay holes. A program that is killed leaves its copy; the next copy there removes it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import os
import tempfile
from typing import Final

from waypost.log import logger
from waypost.store import crew
from waypost.store.beside import Private, sweep
from waypost.store.keys import MIB
from waypost.store.sources import READING, Content, changed, require_unchanged, written
from waypost.store.tree import Kind, Node

MAX_IN_MEMORY: Final = 16 * MIB
COPIES: Final = b".waypost-copy-"
_STRETCH: Final = 32 * MIB
"""Bytes that a thread copies at a time."""
_MOST_THREADS: Final = 4
_AT_ONCE: Final = 8 * MIB
"""Bytes for one call into the kernel, which Ctrl-C waits for."""
_NOT_HERE: Final = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EBADF)


def copy(content: Content) -> Content:
    """A private copy of what `look` found. Raises OSError: also when there is no room for it."""
    if content.copied:
        return content
    if content.size <= MAX_IN_MEMORY:
        blobs = [
            list(content.pieces(index)) if node.kind is Kind.FILE else None for index, node in enumerate(content.nodes)
        ]
        return Content(content.nodes, blobs, copied=True)
    parent = os.fsencode(tempfile.gettempdir())
    with contextlib.suppress(OSError):
        sweep(parent, COPIES)
    folder = Private(parent, COPIES)
    try:
        places = _copies(content, folder)
    except BaseException:
        folder.remove()
        raise
    return Content(content.nodes, places, copied=True, release=folder.remove)


def copy_if_possible(content: Content) -> Content | None:
    """As `copy`; None, with a warning, when the copy finds no room: the source has to be read in place then."""
    try:
        return copy(content)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        logger.warning(
            "can't copy %.1f MiB to %s to save them in the background (%s); this save blocks until it is durable. "
            "Point TMPDIR to a volume with room for it",
            content.size / MIB,
            tempfile.gettempdir(),
            error,
        )
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class _Stretch:
    """A range of a file to copy."""

    node: Node
    source: bytes
    target: bytes
    start: int
    end: int


def _copies(content: Content, folder: Private) -> list[bytes | None]:
    places: list[bytes | None] = []
    stretches: collections.deque[_Stretch] = collections.deque()
    for index, (node, place) in enumerate(zip(content.nodes, content.places, strict=True)):
        if not isinstance(place, bytes):
            places.append(None)
            continue
        target = folder.at(b"%d" % index)
        places.append(target)
        stretches += _prepared(node, place, target)
    threads = max(1, min(_MOST_THREADS, crew.cores(), len(stretches)))

    def carry() -> None:
        while stretches:
            try:
                stretch = stretches.popleft()
            except IndexError:  # another thread has taken the last one
                return
            try:
                _carry(stretch)
            except BaseException:
                stretches.clear()  # nobody needs the rest
                raise

    crew.work([carry] * threads)
    return places


def _prepared(node: Node, source: bytes, target: bytes) -> list[_Stretch]:
    """An empty copy of its size, and what is to be put there."""
    original = os.open(source, READING)
    try:
        require_unchanged(original, source, node)
        made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(made, node.size)
        finally:
            os.close(made)
        return [
            _Stretch(node, source, target, at, min(at + _STRETCH, end))
            for start, end in written(original, node.size)
            for at in range(start, end, _STRETCH)
        ]
    finally:
        os.close(original)


def _carry(stretch: _Stretch) -> None:
    original = os.open(stretch.source, READING)
    try:
        made = os.open(stretch.target, os.O_WRONLY | os.O_CLOEXEC)
        try:
            at = stretch.start
            while at < stretch.end:
                count = _some(original, made, at, min(stretch.end - at, _AT_ONCE))
                if not count:
                    raise changed(stretch.source)
                at += count
        finally:
            os.close(made)
        require_unchanged(original, stretch.source, stretch.node)
    finally:
        os.close(original)


def _some(original: int, made: int, at: int, most: int) -> int:
    """Copy a few bytes, by the best means there is: how many; 0 at the end of the file."""
    try:
        count = os.copy_file_range(original, made, most, at, at)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
        count = 0
    if count:
        return count
    os.lseek(made, at, os.SEEK_SET)  # some file systems copy nothing, and say so as if the file had ended
    return os.sendfile(made, original, at, most)
