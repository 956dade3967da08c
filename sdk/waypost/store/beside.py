"""Private folders of saves under way: for links and clones beside the source, for copies under TMPDIR.

Only this user may enter them. Each is locked (flock) as long as it is in use, so that the next save in the same place
can tell what a killed program left from what another one is reading, and removes it. Nothing is removed for its name
alone: it has to be a folder of this user, and hold the mark that Waypost has put there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Final

from waypost.backends.held import Held

MARK: Final = b".waypost-private"
"""An empty file in each of these folders. It is removed last, so that a half removed one is still known."""


class Private:
    """A new folder in `parent`, of this save alone, until it is removed or let go."""

    def __init__(self, parent: bytes, prefix: bytes) -> None:
        """Raises OSError, and FileNotFoundError when `parent` isn't there."""
        while True:
            self.path = tempfile.mkdtemp(prefix=prefix, dir=parent)
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
        return os.path.join(self.path, name)

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


def sweep(parent: bytes, prefix: bytes) -> None:
    """Remove the folders there that nobody uses. Raises OSError when `parent` can't be read."""
    for path in _folders(parent, prefix):
        with contextlib.suppress(OSError):
            lock = _opened(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails where a save is under way
                if os.fstat(lock).st_uid == os.geteuid() and os.path.lexists(os.path.join(path, MARK)):
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


def _folders(parent: bytes, prefix: bytes) -> Iterator[bytes]:
    return (os.path.join(parent, name) for name in os.listdir(parent) if name.startswith(prefix))


def _opened(path: bytes) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
