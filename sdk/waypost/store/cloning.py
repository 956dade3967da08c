"""A snapshot by clones (FICLONE): files of their own that share their blocks on the disk until one is written to.

XFS and Btrfs make them, and some others (https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html), within one file
system: so they stand beside the source. A clone is safe against whatever the program does to its file, and costs the
same whatever the size, with one exception: what hasn't been written to the disk yet is written first, while the caller
waits. On a slow disk that takes longer than a copy, which goes to the page cache; so a content most of which isn't on
the disk yet isn't cloned, where the kernel tells (cachestat, Linux 6.5).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from typing import Final

from waypost.store.beside import Private, private_folder
from waypost.store.sources import READING, Content, require_unchanged
from waypost.store.tree import SNAPSHOTS

FICLONE: Final = 0x40049409
_CACHESTAT: Final = 451
"""Its number is the same on all architectures."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MOST_UNWRITTEN: Final = 1 / 8
"""Of the bytes."""
_without: Final[set[int | None]] = {None}
"""File systems that have refused: nothing is made beside a source there only to be refused again."""
_libc: Final = ctypes.CDLL(None)


def cloned(content: Content, source: str | os.PathLike[str]) -> Content | None:
    """A private copy by clones; None where the file system makes none, or they would cost more than a copy.

    Raises OSError when a file has gone or changed meanwhile.
    """
    parent = os.path.dirname(os.path.realpath(os.fsencode(source)))
    device = _device(content)
    if device in _without or device != os.stat(parent).st_dev:
        return None
    folder = private_folder(parent, SNAPSHOTS)
    if folder is None:
        return None
    try:
        places = _clones(content, folder)
    except BaseException:
        folder.remove()
        raise
    if places is None:
        folder.remove()
        return None
    return Content(content.nodes, places, copied=True, release=folder.remove)


def _clones(content: Content, folder: Private) -> list[bytes | None] | None:
    places: list[bytes | None] = []
    unwritten = 0
    for index, (node, place) in enumerate(zip(content.nodes, content.places, strict=True)):
        if not isinstance(place, bytes):
            places.append(None)
            continue
        original = os.open(place, READING)
        try:
            require_unchanged(original, place, node)
            unwritten += _unwritten(original)
            if unwritten > content.size * _MOST_UNWRITTEN:
                return None
            target = folder.at(b"%d" % index)
            if not _clone(original, target):
                return None
            require_unchanged(original, place, node)
            places.append(target)
        finally:
            os.close(original)
    return places


def _clone(original: int, target: bytes) -> bool:
    """Whether it could be made."""
    made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.ioctl(made, FICLONE, original)
    except OSError as error:  # whatever it is, a copy may go on
        if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL):
            _without.add(os.fstat(original).st_dev)
        return False
    finally:
        os.close(made)
    return True


def _device(content: Content) -> int | None:
    """Where its files are."""
    place = next((place for place in content.places if isinstance(place, bytes)), None)
    return None if place is None else os.stat(place).st_dev


class _Range(ctypes.Structure):
    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _Cache(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recent"))


def _unwritten(descriptor: int) -> int:
    """Bytes of a file that aren't on the disk yet; 0 where the kernel doesn't tell."""
    found = _Cache()
    if _libc.syscall(_CACHESTAT, descriptor, ctypes.byref(_Range(0, 0)), ctypes.byref(found), 0):
        return 0
    return int(found.dirty + found.writeback) * _PAGE
