"""Private folders of saves under way: for links and clones beside the source, for copies under TMPDIR.

Only this user may enter them. Each is locked (flock) as long as it is in use, so that the next save in the same place
can tell what a killed program left from what another one is reading, and removes it. Nothing is removed for its name
alone: it has to be a folder of this user, and hold the mark that Waypost has put there.

A lock is seen by all who can come there only where the file system is one kernel's. On others (NFS, FUSE, a virtual
machine's shared folder) it may or may not reach the neighbours, as they are mounted; so each folder's name says by whom
it was made: which boot of a kernel, under which host name (a pod's own), over which mount. There an unlocked folder of
the same three is removed, and any other one only when it is a month old, by the file system's own clock: no save takes
that long, and what a machine that is gone has left doesn't stay for ever. (To a machine that exports a disk by NFS it
looks like its own: who saves there on both sides should give each a folder.)
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from waypost.backends.held import Held

MARK: Final = b".waypost-private"
"""An empty file in each of these folders. It is removed last, so that a half removed one is still known."""
OLD: Final = 30 * 24 * 3600.0
"""Seconds after which nobody can be saving from it any more, wherever that is."""
_ONE_KERNELS: Final = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E}
)
"""File systems of one kernel: ext2 to ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS, bcachefs (linux/magic.h)."""
_libc: Final = ctypes.CDLL(None)


class Private:
    """A new folder in `parent`, of this save alone, until it is removed or let go."""

    def __init__(self, parent: bytes, prefix: bytes) -> None:
        """Raises OSError, and FileNotFoundError when `parent` isn't there."""
        named = prefix + _maker(parent) + b"-"
        while True:
            self.path = tempfile.mkdtemp(prefix=named, dir=parent)
            with contextlib.suppress(FileNotFoundError):  # before it was locked, another save took it for a dead one's
                self._lock = Held(_opened(self.path))
                try:
                    fcntl.flock(self._lock.descriptor, fcntl.LOCK_EX)
                    os.stat(self.path)
                    os.close(os.open(self.at(MARK), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                except BaseException:
                    self._lock.close()
                    raise
                return

    def at(self, name: bytes) -> bytes:
        """The path of what is called so in it."""
        return self.path + b"/" + name

    def remove(self) -> None:
        """With all that is in it. In a forked child: nothing, for its parent goes on with it."""
        if self._lock.is_ours():
            _remove(self.path)
            self.let_go()

    def let_go(self) -> None:
        """Leave it as it is, to whoever removes what nobody uses."""
        self._lock.close()


def private_folder(parent: bytes, prefix: bytes) -> Private | None:
    """A new one, behind a sweep of those that nobody uses; None where none can be made."""
    try:
        sweep(parent, prefix)
        return Private(parent, prefix)
    except OSError:
        return None


def is_one_kernels(path: bytes) -> bool:
    """Whether that is on a file system where a lock is seen by all who can come there (statfs)."""
    buffer = (ctypes.c_ulong * 64)()  # more than a struct statfs has; its first word is the type
    return _libc.statfs(path, buffer) == 0 and buffer[0] & 0xFFFFFFFF in _ONE_KERNELS


def sweep(parent: bytes, prefix: bytes, all_locks_seen: Callable[[bytes], bool] = is_one_kernels) -> None:
    """Remove the folders there that nobody uses. Raises OSError when `parent` can't be read."""
    folders = list(_folders(parent, prefix))
    if not folders:
        return
    ours = None if all_locks_seen(parent) else os.path.join(parent, prefix + _maker(parent) + b"-")
    for path in folders:
        with contextlib.suppress(OSError):
            lock = _opened(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a save is under way
                if os.fstat(lock).st_uid == os.geteuid() and _may_go(path, ours):
                    _remove(path)
            finally:
                os.close(lock)


def _remove(path: bytes) -> None:
    with contextlib.suppress(OSError):
        for item in list(os.scandir(path)):
            if item.name == MARK:
                continue
            if item.is_dir(follow_symlinks=False):
                shutil.rmtree(item.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(item.path)
        shutil.rmtree(path, ignore_errors=True)


def _maker(parent: bytes) -> bytes:
    """Who makes folders there, in few letters: whom of others the same kernel's locks hold off, over the same mount."""
    words = (_BOOT, os.fsencode(socket.gethostname()), b"%d" % os.stat(parent).st_dev)
    return hashlib.sha256(b"\n".join(words)).hexdigest()[:12].encode("ascii")


def _boot() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:  # a sandbox that has none: then this process knows none but its own
        return secrets.token_bytes(16)


_BOOT: Final = _boot()


def _may_go(path: bytes, ours: bytes | None) -> bool:
    """Whether what is unlocked there has our mark, and nobody can be using it whose lock isn't seen here."""
    if not os.path.lexists(os.path.join(path, MARK)):
        return False
    return ours is None or path.startswith(ours) or _is_old(path)


def _is_old(path: bytes) -> bool:
    """By the clock of the file system, which may be another machine's."""
    with tempfile.TemporaryFile(dir=os.path.dirname(path)) as fresh:
        return os.lstat(os.path.join(path, MARK)).st_mtime + OLD < os.fstat(fresh.fileno()).st_mtime


def _folders(parent: bytes, prefix: bytes) -> Iterator[bytes]:
    return (os.path.join(parent, name) for name in os.listdir(parent) if name.startswith(prefix))


def _opened(path: bytes) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
