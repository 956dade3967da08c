"""`current_context().checkpoint`: Flyte's way of saving progress inside a task, on Waypost's store.

Names and shapes are Flyte's, so a program moves over by its import lines. What differs is what hurt there: nothing
saved yet reads as None (never as an error that ends the task), a storage error is an error (never 'no checkpoint'),
each `write` or `save` is a whole new checkpoint that stands completely or not at all, and a restored folder stays
until the process ends.

What the attempt resumes from is fixed when it starts: `read()` and `restore()` give that, also after an own `write()`.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from waypost import attempt, contract
from waypost.checkpoints import BASE, Checkpoints
from waypost.errors import ConfigurationError

BYTES_NAME: Final = "_dst_cp"
"""The file as which bytes come back, as in Flyte."""
STAGING_PREFIX: Final = ".waypost-restore-"
"""A folder inside the one restored to, on the same file system, so that files arrive there whole, by rename."""


class Checkpoint:
    """Flyte's checkpoint on one store, or on two: `source` is resumed from, `destination` saved to."""

    def __init__(self, destination: Checkpoints, source: Checkpoints | None) -> None:
        self._destination, self._source = destination, source
        self._restored: Path | None = None
        self._scratch = _Scratch()

    def prev_exists(self) -> bool:
        """Whether there is a checkpoint to resume from: one that was really saved, by whatever earlier attempt."""
        return self._source is not None and self._source.base is not None

    def read(self) -> bytes | None:
        """Return the content of the checkpoint that this attempt resumes from; None when nothing was saved yet.

        Raises ValueError unless it is exactly one file (as `write` saves it), StorageError when the store can't be
        reached, CorruptCheckpointError when no checkpoint is left that verifies.
        """
        return self._source.read_bytes(BASE) if self._source is not None else None

    def write(self, b: bytes | bytearray | memoryview) -> None:
        """Save bytes as a new checkpoint; returns when it is durable.

        Raises TypeError for anything but bytes, StorageError, FencedError, and StopRequested after a stop request.
        """
        if not isinstance(b, bytes | bytearray | memoryview):
            raise TypeError(f"write() takes bytes, not {type(b).__name__}; encode text first")
        self._destination.save(bytes(b), wait=True)

    def save(self, cp: Path | str | io.IOBase) -> None:
        """Save a folder's content, a file, or what a reader gives, as a new checkpoint; returns when it is durable.

        Raises ValueError for any other type, TypeError for a reader of text, FileNotFoundError for a missing path,
        StorageError, FencedError, and StopRequested after a stop request.
        """
        if isinstance(cp, io.IOBase):
            self._save_reader(cp)
            return
        if not isinstance(cp, str | os.PathLike):
            raise ValueError(  # noqa: TRY004 - Flyte's programs expect it
                f"Only a valid path or IOBase type (reader) should be provided, received {type(cp)}"
            )
        path = Path(cp)
        if not path.exists():
            raise FileNotFoundError(f"can't save {path}: there is no such file or folder")
        self._destination.save(path, wait=True)

    def restore(self, path: Path | str | None = None) -> Path | None:
        """Put the checkpoint that this attempt resumes from into a folder and return it; None when there is none.

        Without `path` the folder is a private one that stays until the process ends. With `path`, an existing
        folder, the checkpoint's files are put into it and its other files left alone.

        Raises ValueError when `path` isn't an existing folder, StorageError, CorruptCheckpointError.
        """
        if self._source is None or self._source.base is None:
            return None
        if path is None:
            if self._restored is None:
                folder = self._scratch.new("prev_cp")
                self._source.restore(folder, BASE)
                self._restored = folder
            return self._restored
        target = Path(path)
        if not target.is_dir():
            raise ValueError(f"Checkpoints can be restored to a directory only. {target} isn't one; create it first")
        for left_over in target.glob(f"{STAGING_PREFIX}*"):  # by a process that was killed in here
            shutil.rmtree(left_over)
        with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=target) as staging:
            whole = Path(staging) / "checkpoint"
            self._source.restore(whole, BASE)
            _move_into(whole, target)
        return target

    def _save_reader(self, reader: io.IOBase) -> None:
        """Through a file: a reader may hold more than memory does."""
        if isinstance(reader, io.TextIOBase):
            raise TypeError("save() takes a reader of bytes, not of text; open the file in mode 'rb'")
        folder = self._scratch.new("reader")
        folder.mkdir()
        try:
            with (folder / BYTES_NAME).open("wb") as file:
                shutil.copyfileobj(reader, file)
            self._destination.save(folder / BYTES_NAME, wait=True)
        finally:
            shutil.rmtree(folder)


def _move_into(source: Path, target: Path) -> None:
    """Move what is in `source` into `target`, replacing files of the same names; both on one file system."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink():
            place.mkdir(exist_ok=True)
            _move_into(entry, place)
        else:
            os.replace(entry, place)


class _Scratch:
    """Private folders that live as long as the process, whatever object asked for them."""

    _root: tempfile.TemporaryDirectory[str] | None = None
    _made = 0
    _lock: Final = threading.Lock()

    def new(self, name: str) -> Path:
        """Return the path of a new private folder, which isn't there yet."""
        with _Scratch._lock:
            if _Scratch._root is None:
                _Scratch._root = tempfile.TemporaryDirectory(prefix="waypost-")
            _Scratch._made += 1
            return Path(_Scratch._root.name) / f"{_Scratch._made}-{name}"


# --- The process's own -------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Context:
    """What a task function may ask about its run."""

    checkpoint: Checkpoint


_lock: Final = threading.Lock()
_store: Checkpoints | None = None
_context: Context | None = None


def open_store() -> Checkpoints:
    """Return the contract's store, opened as this process's attempt; the first call takes it over by its FENCE.

    Raises ConfigurationError without a contract, and what `Checkpoints` raises.
    """
    global _store
    with _lock:
        if _store is None:
            if attempt.report() is None:
                raise ConfigurationError(
                    f"no checkpoint store here: {contract.ENV_CHECKPOINT_DST} is not set. Call a @waypost.task "
                    "function, use `waypost run FILE:FUNCTION`, or name a store: waypost.Checkpoints(uri, attempt=1)"
                )
            _store = Checkpoints()
        return _store


def current_context() -> Context:
    """Return the context of the running task, whose `.checkpoint` saves and restores its progress."""
    global _context
    store = open_store()
    with _lock:
        if _context is None:
            _context = Context(Checkpoint(store, store))
        return _context
