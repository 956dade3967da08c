"""A snapshot by hard links: it costs a link for each file, whatever its size.

A link keeps the bytes of a file that the program replaces (writes anew and renames over the old one) or removes, but
not of one that it writes to in place. Nothing tells the two kinds of program apart beforehand, so links are made only
where the caller has promised that these files are never written to again. The promise is checked as far as it can be:
when a file is read, and once more behind that, size and modification time have to be what they were, or the save fails
(EBUSY). A write through a mapping, or within the same tick of the kernel's clock, may show in neither. (The change time
says nothing here: it moves with the number of links, so whenever the program replaces a file.)

Links can only be made in the same file system, so they stand in a folder beside the source. It is locked while it is in
use; what a killed program left is removed by the next snapshot there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import tempfile

from waypost.store.sources import Content
from waypost.store.tree import LINKS


def linked(content: Content, source: str | os.PathLike[str]) -> Content | None:
    """The same content by links of its own; None where none can be made: another file system, a read-only folder.

    Raises OSError when a file has gone meanwhile.
    """
    parent = os.path.dirname(os.path.realpath(os.fsencode(source)))
    try:
        _remove_leftovers(parent)
        folder, lock = _own_folder(parent)
    except OSError:
        return None
    try:
        places = [_link(place, folder, index) for index, place in enumerate(content.places)]
    except FileNotFoundError:
        _remove(folder, lock)
        raise
    except OSError:
        _remove(folder, lock)
        return None
    except BaseException:
        _remove(folder, lock)
        raise
    return dataclasses.replace(content, places=places, lasting=True, release=lambda: _remove(folder, lock))


def _own_folder(parent: bytes) -> tuple[bytes, int]:
    """A new folder, and the descriptor that locks it. Raises OSError."""
    while True:
        folder = tempfile.mkdtemp(prefix=LINKS, dir=parent)
        with contextlib.suppress(FileNotFoundError):  # before it was locked, another snapshot took it for a dead one's
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                os.stat(folder)
            except BaseException:
                os.close(lock)
                raise
            return folder, lock


def _link(place: object, folder: bytes, index: int) -> bytes | None:
    if not isinstance(place, bytes):
        return None
    target = os.path.join(folder, b"%d" % index)
    os.link(place, target, follow_symlinks=False)
    return target


def _remove(folder: bytes, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _remove_leftovers(parent: bytes) -> None:
    for name in os.listdir(parent):
        if not name.startswith(LINKS):
            continue
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a save is under way
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
