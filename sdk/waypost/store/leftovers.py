"""What programs had given up, and nobody has stored: it is named, moved out of a restore's way, and never removed.

A save that is under way holds a shared lock (flock) on what it was given: by that it is told from what a killed
program has left, or one that failed where something else had taken its name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
from collections.abc import Iterator
from typing import Final

from waypost.log import logger
from waypost.store import tree
from waypost.store.beside import is_one_kernels
from waypost.store.renaming import rename
from waypost.store.tree import GIVEN

OPENING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
told: Final[set[bytes]] = set()
"""Where things are of which the log has told already."""
_numbers: Final = itertools.count(1)
_MOST_TRIES: Final = 1000


def names() -> Iterator[bytes]:
    """Hidden names that this process hasn't used; killed ones of the same number may have. Not without end."""
    return map(_name, itertools.islice(_numbers, _MOST_TRIES))


def _name(number: int) -> bytes:
    return GIVEN + b"%d-%d" % (os.getpid(), number)


def no_name_left() -> OSError:
    """The error for when none of these names can be had."""
    return FileExistsError(errno.EEXIST, "too much stands there that was given up, or it can't be renamed")


def tell(parent: bytes) -> None:
    """Say once what stands in this folder that a killed program, or an earlier save, had been given up."""
    found = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(parent)):
            path = os.path.join(parent, name)
            if name.startswith(GIVEN) and path not in told and not _in_use(path):
                found.append(path)
    if found:
        told.update(found)
        logger.warning(
            "given up by save(consume=True), not known to be stored, and removed by nobody: %s. Use it, or remove it%s",
            ", ".join(map(tree.show, found)),
            "" if is_one_kernels(parent) else ", if no other machine's program is saving from it",
        )


def bring_out(path: str, folder: str) -> None:
    """Move what was given up to another folder, which stays: the one that it is in is about to be removed.

    Raises OSError. A save that is under way on it fails then.
    """
    given, place = os.fsencode(path), os.fsencode(folder)
    status = os.lstat(given)
    whole = stat.S_ISDIR(status.st_mode)
    if whole:
        os.chmod(given, stat.S_IMODE(status.st_mode) | stat.S_IWUSR)  # it gets another parent
    at = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for new in names():
            try:
                rename(at, given, new, folder=whole, reserve=True)
            except FileExistsError:
                continue
            break
        else:
            raise no_name_left()
        if whole:
            os.chmod(new, stat.S_IMODE(status.st_mode), dir_fd=at)
    finally:
        os.close(at)
    logger.warning("what was given up at %s is at %s now", tree.show(given), tree.show(os.path.join(place, new)))


def _in_use(path: bytes) -> bool:
    try:
        descriptor = os.open(path, OPENING)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
