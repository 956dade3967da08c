"""Any other place that fsspec knows.

Whether a file system honours `mode="create"` is its own affair: fsspec's default looks first and writes then, which
two writers pass together. So a file system that doesn't bring its own way of writing has no conditional writes, and the
others have to stand the probe (`waypost.store.format`).

Only fsspec's asynchronous file systems are made for several threads at once; of the others (FTP, SFTP …) many hold one
connection and never open it again. So their requests wait for each other, no more than one is made at once (what waits
here does so within its own time), and behind trouble comes a new connection.
Over FTP, SFTP, SMB and the like a file exists before its content does, and a writer that dies leaves half of it. A file
system of that kind renames by itself, so what is written there gets its name only when it is whole; object stores need
no such thing. A dead writer's unfinished file stays in `.tmp/` of the store, where nobody looks.

What a file system remembers of its folders is forgotten before each listing: a store without conditional writes depends
on listings being true.

fsspec says little about what went wrong; what isn't plainly a refusal counts as passing trouble.
"""

from __future__ import annotations

import contextlib
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.registry import registry
from fsspec.spec import AbstractFileSystem

from waypost.backends.protocol import (
    UNFINISHED,
    AbsentError,
    BackendError,
    ExistsError,
    RefusedError,
    Take,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)
from waypost.errors import ConfigurationError

_NOT_PLACES: Final = frozenset(
    {
        *(
            "blockcache",
            "cached",
            "filecache",
            "simplecache",
            "reference",
            "tar",
            "zip",
            "libarchive",
            "dir",
            "generic",
        ),
        *("async_wrapper", "asyncwrapper", "local", "asynclocal"),
        *("data", "http", "https", "git", "github", "gist", "jlab", "jupyter", "pyscript"),
    }
)
"""What is no place of its own, has a backend of its own, or can't be written to."""

_memory_lock: Final = threading.RLock()
"""memory:// lives in this process, and its create looks first and writes then."""


def known_schemes() -> frozenset[str]:
    """The schemes that fsspec knows, or that the program has registered with it."""
    return frozenset({*fsspec.available_protocols(), *registry}) - _NOT_PLACES


class FsspecBackend:
    """The folder named by an fsspec URI."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError when the file system's package is missing or can't make sense of the URI."""
        self._uri = uri
        self._stale = False
        """Whether the file system's connection may be broken: most don't open it again by themselves."""
        try:
            self._kind = fsspec.get_filesystem_class(uri.partition("://")[0])
            self._connect()
        except (ImportError, ValueError, TypeError) as error:
            raise ConfigurationError(f"can't use the checkpoint URI {uri}: {error}") from error
        except Exception:  # noqa: BLE001 - it can't be reached now, which the first request will say
            self._stale = True
        self._lock: AbstractContextManager[object] = threading.RLock()
        if uri.startswith("memory://"):
            self._lock = _memory_lock
        elif issubclass(self._kind, AsyncFileSystem):
            self._lock = contextlib.nullcontext()

    @property
    def uri(self) -> str:
        """The store's URI."""
        return self._uri

    @property
    def most_requests(self) -> int:
        """One, where requests wait for each other; so many that it makes no difference elsewhere."""
        return sys.maxsize if issubclass(self._kind, AsyncFileSystem) else 1

    def put_new(self, key: str, data: bytes) -> None:
        """Create `key`, or raise ExistsError."""
        if not _creates_by_itself(self._kind):
            raise UnsupportedError(f"{self._kind.__name__} of fsspec can't create a file only if it is absent")
        with self._translated(writing=True):
            self._make_folder(key)
            self._fs.pipe_file(self._path(key), data, mode="create")

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        with self._translated(writing=True):
            self._make_folder(key)
            if not _renames_by_itself(self._kind):
                self._fs.pipe_file(self._path(key), bytes(data))
                return
            unfinished = f"{UNFINISHED}{secrets.token_hex(8)}"
            self._make_folder(unfinished)
            try:
                self._fs.pipe_file(self._path(unfinished), bytes(data))
                self._rename(unfinished, key, data)
            except Exception:
                with contextlib.suppress(Exception):  # the connection may be what is broken
                    self._fs.rm_file(self._path(unfinished))
                raise

    def get(self, key: str, limit: int) -> bytes:
        """The content of `key`."""
        with self._translated():
            size = self._fs.info(self._path(key)).get("size")
            if size is None or size > limit:
                raise TooLargeError(f"it has {size} bytes")
            return bytes(self._fs.cat_file(self._path(key)))

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        """A part of the content of `key`, in one piece."""
        with self._translated():
            data = self._fs.cat_file(self._path(key), start=start, end=start + length)
        take(memoryview(data))

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        """Keys directly in a folder, in byte order."""
        try:
            with self._translated():
                self._fs.invalidate_cache()
                listing = self._fs.ls(self._path(prefix.rstrip("/")), detail=True)
        except AbsentError:
            return []
        names = (item["name"].rstrip("/").rpartition("/")[2] for item in listing if item["type"] != "directory")
        return sorted(key for key in (prefix + name for name in names if name.isascii()) if key > start_after)[:limit]

    def delete(self, key: str) -> None:
        """Remove `key`."""
        with contextlib.suppress(AbsentError), self._translated():
            try:
                self._fs.rm_file(self._path(key))
            except OSError:
                raise
            except Exception:  # FTP has one word for "not there" and "not allowed"
                self._fs.info(self._path(key))
                raise

    def close(self) -> None:
        """fsspec closes what it opened."""

    def _connect(self) -> None:
        self._fs, self._root = fsspec.url_to_fs(self._uri, use_listings_cache=False, skip_instance_cache=True)
        self._stale = False

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def _rename(self, unfinished: str, key: str, data: bytes | memoryview) -> None:
        """Some (HDFS, SMB) don't rename over a file that exists; there it is written in place.

        In a store only the stub of a pruned entry takes another's place, and carries nothing any more.
        """
        try:
            self._fs.mv(self._path(unfinished), self._path(key))
        except Exception:
            if not self._fs.exists(self._path(key)):
                raise
            self._fs.pipe_file(self._path(key), bytes(data))
            with contextlib.suppress(FileNotFoundError):  # it was renamed, and the answer got lost
                self._fs.rm_file(self._path(unfinished))

    def _make_folder(self, key: str) -> None:
        with contextlib.suppress(FileExistsError):
            self._fs.makedirs(self._path(key).rpartition("/")[0], exist_ok=True)

    @contextlib.contextmanager
    def _translated(self, *, writing: bool = False) -> Iterator[None]:
        try:
            with self._lock:
                if self._stale:
                    self._connect()
                yield
        except BackendError:
            raise
        except FileExistsError as error:
            raise ExistsError(_words(error)) from error
        except FileNotFoundError as error:
            if writing:
                raise RefusedError(_words(error), "Check that the URI's bucket or folder exists") from error
            raise AbsentError(_words(error)) from error
        except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
            raise RefusedError(_words(error), "Check the credentials, and what they allow there") from error
        except NotImplementedError as error:
            raise UnsupportedError(_words(error)) from error
        except Exception as error:
            # whatever client libraries raise: the request may have been carried out, and may work when repeated
            self._stale = not issubclass(self._kind, AsyncFileSystem)
            raise UnreachableError(_words(error)) from error


def _creates_by_itself(kind: Any) -> bool:
    if issubclass(kind, AsyncFileSystem):
        return bool(kind._pipe_file is not AsyncFileSystem._pipe_file)
    return bool(kind.pipe_file is not AbstractFileSystem.pipe_file)


def _renames_by_itself(kind: Any) -> bool:
    """Whether moving is a rename there: fsspec's default for it is a copy, and no object store has anything better."""
    return not issubclass(kind, AsyncFileSystem) and bool(kind.mv is not AbstractFileSystem.mv)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
