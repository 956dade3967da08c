"""A snapshot by a rename: the program gives its file or folder up, and it is Waypost's, whatever its size.

It gets a hidden name beside the one it had, `.waypost-given-<process>-<number>`, and is read there. What comes of it:

- The save stands: it is removed, if it is exactly what was saved; what was written to it since keeps it where it is.
- Anything else (an error, an interruption, a newer save in its place, the end of the program's time): it gets its old
  name back. If something else has that name by now, it stays where it is; the log and the error say so.
- The program is killed: it stays, and nobody ever removes it. Whoever saves or restores there next says where it is.

So that no other thing can be meant by a path on the way: the parent folder and the thing itself are open from before
the first look until the end, every name is one in the open folder, and nothing is renamed over anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from waypost.backends.held import Held
from waypost.errors import ConfigurationError
from waypost.log import logger
from waypost.store import leftovers, sources, tree
from waypost.store.renaming import rename
from waypost.store.sources import Content
from waypost.store.tree import GIVEN, SNAPSHOTS, Kind

_under_way: Final[set[Given]] = set()
_GONE: Final = "somebody has moved or removed it since"


@dataclasses.dataclass(frozen=True, slots=True)
class _Seen:
    """A file, folder or link as it was; of folders only which one."""

    kind: int
    device: int
    inode: int
    size: int = 0
    mtime_ns: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> _Seen:
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            return cls(kind, status.st_dev, status.st_ino)
        return cls(kind, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Given:
    """What a program gives up to a save."""

    def __init__(self, source: object) -> None:
        """Touches nothing yet. Raises ConfigurationError for what isn't a path, or no plain one."""
        if not isinstance(source, (str, os.PathLike)):
            raise ConfigurationError(
                f"can't take over a {type(source).__name__}: consume=True is for the path of a file or folder"
            )
        path = os.fsencode(source)
        self._parent, self._name = os.path.split(path.rstrip(b"/"))
        if self._name in (b"", b".", b".."):
            raise ConfigurationError(
                f"can't take over {tree.show(path)}: it doesn't end in a name; give the path that it leads to"
            )
        self._path = os.path.join(self._parent, self._name)
        self._process = os.getpid()
        self._parent_open: Held | None = None
        self._lock_held: Held | None = None
        self._home = b""
        self._hidden: bytes | None = None
        self._folder = False
        self._seen: dict[bytes, _Seen] = {}
        self._identity: os.stat_result | None = None
        self._fate: dict[str, str] = {}
        """Empty until it is decided, by whoever comes first; of several threads, and of one that is interrupted."""
        self._lock = threading.RLock()

    def take(self, spared: Iterable[bytes]) -> Content:
        """The content, from where it is moved to; nothing at the paths of `spared` may go with it.

        Raises ConfigurationError for what can't be given up, and OSError; `put_back` has to be called then.
        """
        _under_way.add(self)
        os.lstat(self._path)
        self._parent_open = Held(os.open(self._parent or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._home = self._where()
        leftovers.tell(self._home)
        status = os.stat(self._name, dir_fd=self._at, follow_symlinks=False)
        self._folder = stat.S_ISDIR(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            raise self._refusal("it is a symbolic link; give the path that it leads to")
        if not (self._folder or stat.S_ISREG(status.st_mode)):
            raise self._refusal("it is neither a file nor a folder")
        self._lock_held = Held(os.open(self._name, leftovers.OPENING, dir_fd=self._at))
        self._identity = os.fstat(self._lock_held.descriptor)
        with contextlib.suppress(OSError):  # it only tells others that somebody is at work on it
            fcntl.flock(self._lock_held.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._require_free(spared)
        content = sources.look(os.fsdecode(self._path))
        self._move()
        self._require_same(content)
        hidden = os.path.join(self._where(), self._hidden or b"")
        places = [
            (os.path.join(hidden, node.path) if self._folder else hidden) if isinstance(place, bytes) else place
            for node, place in zip(content.nodes, content.places, strict=True)
        ]
        return dataclasses.replace(content, places=places, lasting=True, given=self)

    def remove(self) -> None:
        """The save stands, and nothing reads it any more. What isn't exactly what was saved stays."""
        if os.getpid() != self._process or self._fate.setdefault("is", "removed") != "removed":
            return
        with self._lock:
            if self._hidden is None:
                return
            try:
                problem = self._remove(self._hidden)
            except Exception as error:  # noqa: BLE001 - the save stands, whatever is in the way of this
                problem = str(error)
            if problem:
                self._tell(f"it was saved, but can't be removed: {problem}", None)
            self._hidden = None
            self._let_go()

    def put_back(self, error: BaseException | None) -> None:
        """The save has ended in this error, or not begun: give it its name back. May be called again."""
        if os.getpid() != self._process or self._fate.setdefault("is", "back") != "back":
            return
        with self._lock:
            if self._hidden is not None:
                problem = self._put_back(self._hidden)
                if problem:
                    self._tell(problem, error)
                elif error is not None:
                    error.add_note(f"what was to be saved is where it was: {tree.show(self._path)}")
                self._hidden = None
            self._let_go()

    def _require_free(self, spared: Iterable[bytes]) -> None:
        """Raise ConfigurationError for a mount point, and for a folder that others need to be where it is."""
        own = self._identity
        assert own is not None
        if own.st_dev != os.fstat(self._at).st_dev:
            raise self._refusal("it is a mount point, or in another file system than its parent folder")
        needed = list(spared)
        with contextlib.suppress(FileNotFoundError):  # it was removed
            needed.append(os.getcwdb())
        for path in needed:
            for around in _around(os.path.realpath(path)):
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.stat(around), own):
                        raise self._refusal(f"{tree.show(path)} is in it, which is in use")

    def _move(self) -> None:
        for self._hidden in leftovers.names():
            try:
                rename(self._at, self._name, self._hidden, folder=self._folder, reserve=True)
            except FileExistsError:
                continue  # a killed program of the same number has left something there
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise self._refusal(f"it is a mount point, or in use ({error})") from error
                raise
            return
        raise leftovers.no_name_left()

    def _require_same(self, content: Content) -> None:
        """Raise if what was moved isn't what was opened, and what was looked at, or holds what isn't the program's."""
        assert self._hidden is not None
        moved = os.stat(self._hidden, dir_fd=self._at, follow_symlinks=False)
        if not self._stands(self._hidden):
            self._identity, self._folder = moved, stat.S_ISDIR(moved.st_mode)
            raise sources.changed(self._path)
        if mounts := list(_mounts_below(self._hidden)):
            raise self._refusal(f"something is mounted in it: {tree.show(mounts[0])}")
        found: dict[bytes, tuple[Kind, int, int, bytes]] = {}
        for path, status, target in self._walk(self._hidden):
            if os.path.basename(path).startswith((GIVEN, SNAPSHOTS)):
                raise self._refusal(
                    f"it holds {tree.show(path)}, of another save that is under way or was killed; wait for that one, "
                    "or move it elsewhere"
                )
            if status.st_dev != moved.st_dev:
                raise self._refusal(f"{tree.show(path)} in it is in another file system")
            self._seen[path] = _Seen.of(status)
            found[path] = _as_node(status, target)
        wanted = {
            node.path if self._folder else b"": (node.kind, node.size, node.mtime_ns, node.target)
            if node.kind is Kind.FILE
            else (node.kind, 0, 0, node.target)
            for node in content.nodes
        }
        if wanted != found:
            raise sources.changed(self._path)

    def _walk(self, hidden: bytes) -> list[tuple[bytes, os.stat_result, bytes]]:
        """Path, status and a link's target of all that is in it; of a file, of itself."""
        if not self._folder:
            return [(b"", os.stat(hidden, dir_fd=self._at, follow_symlinks=False), b"")]
        found = []
        for folder, below, files, at in os.fwalk(hidden, onerror=_fail, dir_fd=self._at):
            for name in (*below, *files):
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
                target = os.readlink(name, dir_fd=at) if stat.S_ISLNK(status.st_mode) else b""
                found.append((os.path.join(folder, name)[len(hidden) + 1 :], status, target))
        return found

    def _remove(self, hidden: bytes) -> str:
        """What keeps it from being removed; empty if nothing did."""
        if not self._stands(hidden):
            return _GONE
        if {path: _Seen.of(status) for path, status, _ in self._walk(hidden)} != self._seen:
            return "something was written to it after it was given up"
        if not self._folder:
            os.unlink(hidden, dir_fd=self._at)
            return ""
        for folder, below, files, at in os.fwalk(hidden, topdown=False, onerror=_fail, dir_fd=self._at):
            for name in (*below, *files):
                path = os.path.join(folder, name)[len(hidden) + 1 :]
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
                if _Seen.of(status) != self._seen.get(path):
                    return f"{tree.show(path)} was written to after it was given up"
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(name, dir_fd=at)
                else:
                    os.unlink(name, dir_fd=at)
        os.rmdir(hidden, dir_fd=self._at)
        return ""

    def _put_back(self, hidden: bytes) -> str:
        """What keeps it from being put back; empty if it is where it was."""
        if not self._stands(hidden):
            return "" if self._stands(self._name) else _GONE
        if self._where() != self._home:
            return "its parent folder is another's by now"  # a restore may be removing it
        try:
            if not self._folder and self._stands(self._name):  # interrupted while it had both
                os.unlink(hidden, dir_fd=self._at)
                return ""
            rename(self._at, hidden, self._name, folder=self._folder, reserve=False)
        except FileExistsError:
            return f"something else is at {tree.show(self._path)} by now"
        except OSError as error:
            return f"it can't be moved back ({error})"
        return ""

    def _stands(self, name: bytes) -> bool:
        """Whether it has this name."""
        try:
            status = os.stat(name, dir_fd=self._at, follow_symlinks=False)
        except OSError:
            return False
        return self._identity is not None and os.path.samestat(status, self._identity)

    def _tell(self, problem: str, error: BaseException | None) -> None:
        place = os.path.join(self._where(), self._hidden or b"")
        leftovers.told.add(place)
        text = f"what was given up at {tree.show(self._path)} stays in {tree.show(place)}: {problem}"
        logger.warning("%s", text)
        if error is not None:
            error.add_note(text)

    def _where(self) -> bytes:
        """The parent folder's path, as it is now."""
        try:
            return os.readlink(b"/proc/self/fd/%d" % self._at)
        except OSError:
            return os.path.realpath(self._parent or b".")

    def _refusal(self, why: str) -> ConfigurationError:
        return ConfigurationError(f"can't take over {tree.show(self._path)}: {why}")

    @property
    def _at(self) -> int:
        """The open parent folder."""
        assert self._parent_open is not None
        return self._parent_open.descriptor

    def _let_go(self) -> None:
        for held in (self._lock_held, self._parent_open):
            if held is not None:
                held.close()
        _under_way.discard(self)


def put_all_back() -> None:
    """The process ends: whatever of it nobody has decided about gets its name back."""
    for given in list(_under_way):
        given.put_back(None)


def _as_node(status: os.stat_result, target: bytes) -> tuple[Kind, int, int, bytes]:
    """What of a node can be compared."""
    if stat.S_ISREG(status.st_mode):
        return Kind.FILE, status.st_size, status.st_mtime_ns, b""
    return (Kind.FOLDER if stat.S_ISDIR(status.st_mode) else Kind.LINK), 0, 0, target


def _around(path: bytes) -> list[bytes]:
    """A path, and the folders that it is in."""
    found = [path]
    while (parent := os.path.dirname(path)) != path:
        found.append(path := parent)
    return found


def _mounts_below(name: bytes) -> Iterator[bytes]:
    """Mount points whose path leads through a folder of this name, which only one folder has."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
            place = line.split(b" ")[4]
            if b"/" + name + b"/" in place:
                yield place


def _fail(error: OSError) -> None:
    raise error
