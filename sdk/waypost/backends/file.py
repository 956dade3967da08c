"""A store in a folder: a shared volume, or the laptop's disk.

A key appears by `link()` of a finished, synced temporary file, so that it never exists before its content and only
one of several contenders can create it. (Creating the final name with O_EXCL would show an empty key to a reader, and
leave one behind a kill.) Temporary files stand in a folder of their own that no listing looks into; each is locked
by its writer, so what a killed process left behind is known by its lock and removed.

A write is confirmed when content and name are on the disk: the file and its folder are synced.

Somebody else may have written into the folder too. Only regular files are read (a pipe would never end), and nothing is
written or removed through a symbolic link in the place of one of the store's own folders: it may lead anywhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO, Final

from waypost.backends.aligned import between
from waypost.backends.held import Held
from waypost.backends.protocol import (
    PIECE,
    AbsentError,
    BackendError,
    ExistsError,
    NotNowError,
    RefusedError,
    Take,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)

_TEMPORARY: Final = ".tmp"
_TEMPORARY_NAME: Final = re.compile(rb"[0-9a-f]{32}")
_READING: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_LASTING: Final = {
    errno.EACCES: "Check who owns the folder and as whom the program runs",
    errno.EPERM: "Check who owns the folder and as whom the program runs",
    errno.EROFS: "The volume is mounted read-only; mount it writable, or use another URI",
    errno.ENOTDIR: "A part of the path is a file",
    errno.EISDIR: "A folder stands where a file has to",
    errno.ENAMETOOLONG: "Use a shorter URI",
    errno.ELOOP: "A symbolic link in the path leads to itself",
    errno.EFBIG: "The file system can't hold files of this size",
}
"""What repeating won't change, and what will. Anything else (EIO, ESTALE of a network disk) may pass."""
_NOT_NOW: Final = {
    errno.ENOSPC: "Free space (or inodes) on the volume, or use a larger one",
    errno.EDQUOT: "Raise the quota, or free space",
}
"""Room may be made by another task that removes its old checkpoints."""
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""How link() says that a file system has none; the folder itself was writable a moment before."""


class FileBackend:
    """The folder named by a file:// URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._root = os.fsencode(uri.removeprefix("file://"))
        self._tidy = False
        self._unsynced: set[bytes] = set()
        """Folders with a name that may not be on the disk: nobody may be told of it before it is."""

    @property
    def uri(self) -> str:
        """The store's URI."""
        return self._uri

    def put_new(self, key: str, data: bytes) -> None:
        """Create `key`, or raise ExistsError."""
        path = self._path(key)
        with _translated(writing=True), self._temporary(data) as temporary:
            self._make_folder(os.path.dirname(path))
            try:
                os.link(temporary, path)
            except FileExistsError as error:
                raise ExistsError(f"{os.fsdecode(path)} exists") from error
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise UnsupportedError(f"its file system makes no hard links: {error}") from error
                raise
            with self._standing(os.path.dirname(path)):
                _sync_folder(os.path.dirname(path))

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        path = self._path(key)
        with _translated(writing=True), self._temporary(data) as temporary:
            self._make_folder(os.path.dirname(path))
            os.replace(temporary, path)
            _sync_folder(os.path.dirname(path))

    def get(self, key: str, limit: int) -> bytes:
        """The content of `key`."""
        with _translated(), self._open(key) as file:
            if (folder := os.path.dirname(self._path(key))) in self._unsynced:
                _sync_folder(folder)
                self._unsynced.discard(folder)
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise TooLargeError(f"it has {size} bytes")
            return file.read(limit)

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        """A part of the content of `key`."""
        buffer = between(min(PIECE, length))
        with _translated():
            file = self._open(key)
        with file:
            end = start + length
            while start < end:
                with _translated():
                    count = os.preadv(file.fileno(), [buffer[: end - start]], start)
                if count == 0:
                    return
                take(buffer[:count])  # outside: what it raises isn't the storage's
                start += count

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        """Keys directly in a folder, in byte order."""
        with _translated():
            try:
                with os.scandir(self._path(prefix)) as listing:
                    names = [item.name for item in listing if not item.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                return []
        keys = (prefix + name for name in map(os.fsdecode, names) if name.isascii())
        return sorted(key for key in keys if key > start_after)[:limit]

    def delete(self, key: str) -> None:
        """Remove `key`."""
        path = self._path(key)
        with _translated(), contextlib.suppress(FileNotFoundError):
            self._refuse_links(os.path.dirname(path))
            os.unlink(path)

    def close(self) -> None:
        """Nothing to release."""

    @contextlib.contextmanager
    def _standing(self, folder: bytes) -> Iterator[None]:
        """From here on the key exists: no error may say that nothing was written, and no look that it is durable."""
        try:
            yield
        except OSError as error:
            self._unsynced.add(folder)
            raise UnreachableError(f"it was written, but perhaps not to the disk: {error}") from error

    def _path(self, key: str) -> bytes:
        return os.path.join(self._root, os.fsencode(key))

    def _open(self, key: str) -> BinaryIO:
        path = self._path(key)
        descriptor = os.open(path, _READING)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise RefusedError(
                f"{os.fsdecode(path)} isn't a regular file", "Something else has put it there; remove it"
            )
        return open(descriptor, "rb")

    def _refuse_links(self, folder: bytes) -> None:
        if folder != self._root and os.path.islink(folder):
            raise RefusedError(
                f"{os.fsdecode(folder)} is a symbolic link, and what is written there might end up anywhere",
                "Replace it by the folder itself; the store as a whole may stand behind a link",
            )

    def _make_folder(self, folder: bytes) -> None:
        """Make a folder and its parents, each synced into its own parent: a key must not outlive its folder's name."""
        self._refuse_links(folder)
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
            _sync_folder(os.path.dirname(path))

    @contextlib.contextmanager
    def _temporary(self, data: bytes | memoryview) -> Iterator[bytes]:
        """A synced file with this content, out of sight of listings; gone afterwards, unless it was moved."""
        folder = os.path.join(self._root, os.fsencode(_TEMPORARY))
        self._make_folder(folder)
        if not self._tidy:
            self._tidy = True
            _remove_leftovers(folder)
        path, held = _locked_file(folder)
        try:
            view, done = memoryview(data), 0
            while done < len(view):
                done += os.write(held.descriptor, view[done:])
            os.fsync(held.descriptor)
            yield path
        finally:
            if held.is_ours():
                with contextlib.suppress(OSError):  # moved away, or left to `_remove_leftovers`
                    os.unlink(path)
            held.close()


def _locked_file(folder: bytes) -> tuple[bytes, Held]:
    """A new file, open and locked, so that nobody takes it for the leftover of a dead writer.

    Between its creation and its lock somebody may do just that: then it is left to him, and another one is made.
    """
    while True:
        path = os.path.join(folder, secrets.token_hex(16).encode("ascii"))
        held = Held(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        try:
            fcntl.flock(held.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = os.fstat(held.descriptor).st_nlink == 0
        except BlockingIOError:
            taken = True
        except OSError:  # no locks here: then leftovers of killed processes stay
            taken = False
        if not taken:
            return path, held
        held.close()


def _remove_leftovers(folder: bytes) -> None:
    """Remove temporary files whose writer is dead: it would hold their lock."""
    with os.scandir(folder) as listing:
        paths = [item.path for item in listing if _TEMPORARY_NAME.fullmatch(item.name)]
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or another user's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        except OSError:
            continue  # its writer is at work
        finally:
            os.close(descriptor)


def _sync_folder(folder: bytes) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(*, writing: bool = False) -> Iterator[None]:
    try:
        yield
    except BackendError:
        raise
    except FileNotFoundError as error:
        if writing:  # the store's folder, or the temporary file, was removed under us: the next try makes it again
            raise UnreachableError(str(error)) from error
        raise AbsentError(str(error)) from error
    except OSError as error:
        if error.errno in _NOT_NOW:
            raise NotNowError(str(error), _NOT_NOW[error.errno]) from error
        if error.errno in _LASTING:
            raise RefusedError(str(error), _LASTING[error.errno]) from error
        raise UnreachableError(str(error)) from error
