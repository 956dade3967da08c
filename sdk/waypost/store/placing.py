"""Putting a checkpoint on the disk so that its folder holds all of it or nothing.

The tree is built beside the folder and moved in place by one rename. Where that can't be (the folder is a volume's
mount point, or its parent isn't writable, both usual in pods), it is built inside, in a folder `.waypost-unfinished-…`.
Then what was there is moved into that folder's `replaced`, and the new parts are moved up one by one. As long as a
`replaced` stands there, the content is a mixture: a restore that finds one, because its writer was killed, clears the
folder before anything else, so that it holds nothing rather than a part. What raises an error is put back.

An earlier restore of ours is known by an extended attribute of the folder itself, which no other folder inherits;
where the file system keeps none, a folder that isn't empty counts as the user's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from waypost.backends.held import Held
from waypost.errors import ConfigurationError, StorageError
from waypost.store import tree
from waypost.store.incoming import Take
from waypost.store.keys import MIB
from waypost.store.manifest import Manifest
from waypost.store.tree import Kind, Node
from waypost.store.writing import Files

_MARK: Final = "user.waypost.restored"
_INSIDE: Final = ".waypost-unfinished-"
"""Only `_fill` makes folders of this name, and only in a folder that was empty or ours."""
_REPLACED: Final = "replaced"
_GARBAGE: Final = "garbage"
_MADE_LATER: Final = MIB
"""Bytes up to which a file without holes is made when they come: for small ones it's half of the work."""
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW

Read = Callable[[Take], object]
"""Gives the bytes of a checkpoint's files, piece by piece, from several threads at once and in any order."""


class Place:
    """A folder that is going to hold a checkpoint."""

    def __init__(self, path: str | os.PathLike[str], *, replace: bool) -> None:
        """Raises ConfigurationError when something stands there that isn't ours and may not be replaced."""
        self.path = os.path.realpath(os.fsdecode(path))
        if not replace and not _absent_or_ours(self.path):
            raise ConfigurationError(
                f"can't restore to {self.path}: it isn't an empty folder, nor one that an earlier restore made; give "
                "another path, or replace=True if its content may go"
            )

    def fill(self, manifest: Manifest, read: Read, label: str) -> None:
        """Make the folder hold exactly what the manifest lists; `read` gives the bytes of its files.

        Raises StorageError when the disk refuses; whatever `read` raises, with nothing changed.
        """
        try:
            self._fill(manifest, read, label)
        except OSError as error:
            raise StorageError(
                "restore to", f"file://{self.path}", str(error), advice="This is the local disk, not the store"
            ) from error

    def _fill(self, manifest: Manifest, read: Read, label: str) -> None:
        parent, name = os.path.split(self.path)
        os.makedirs(parent, exist_ok=True)
        inside = os.path.ismount(self.path) or not os.access(parent, os.W_OK | os.X_OK)
        where, prefix = (self.path, _INSIDE) if inside else (parent, f".{name}.waypost-")
        _remove_leftovers(where, prefix)
        _require_room(where, manifest.written)
        with _scratch(where, prefix) as scratch:
            built = os.path.join(scratch, "tree")
            os.mkdir(built)
            _build(os.fsencode(built), manifest, read)
            if inside:
                with self._moved_up(built, scratch):
                    _dress(os.fsencode(self.path), manifest.nodes)
                    _mark(self.path, label)
            else:
                _dress(os.fsencode(built), manifest.nodes)
                _mark(built, label)
                self._move_in(built, os.path.join(scratch, _REPLACED))

    def _move_in(self, built: str, aside: str) -> None:
        try:
            os.rename(built, self.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            _move(self.path, aside)
            try:
                os.rename(built, self.path)
            except BaseException:
                _move(aside, self.path)
                raise

    @contextlib.contextmanager
    def _moved_up(self, built: str, scratch: str) -> Iterator[None]:
        """The parts of `built` in the place of what the folder held; whatever is raised meanwhile, that comes back."""
        aside = os.path.join(scratch, _REPLACED)
        old = [path for path in _content(self.path) if path != scratch]
        new = [os.path.join(self.path, name) for name in os.listdir(built)]
        os.mkdir(aside)
        try:
            for path in old:
                _move(path, os.path.join(aside, os.path.basename(path)))
            for path in new:
                os.rename(os.path.join(built, os.path.basename(path)), path)
            yield
            os.rename(aside, os.path.join(scratch, _GARBAGE))  # from here on the content is whole
        except BaseException:
            back = os.listdir(aside)
            for path in new:
                if path not in old or os.path.basename(path) in back:
                    _remove(path)
            for name in back:
                _move(os.path.join(aside, name), os.path.join(self.path, name))
            os.rmdir(aside)
            raise


def _move(source: str, target: str) -> None:
    """Rename; also a folder that forbids to write to it, which includes giving it another parent."""
    try:
        os.rename(source, target)
    except PermissionError:
        mode = os.lstat(source).st_mode
        if not stat.S_ISDIR(mode):
            raise
        os.chmod(source, 0o700)
        os.rename(source, target)
        os.chmod(target, stat.S_IMODE(mode))


def _absent_or_ours(path: str) -> bool:
    try:
        content = _content(path)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    if not content or any(os.path.basename(item).startswith(_INSIDE) for item in content):
        return True
    try:
        return bool(os.getxattr(path, _MARK))
    except OSError:
        return False


def _content(path: str) -> list[str]:
    """Everything in a folder that counts: not the file system's own lost+found in the root of a volume."""
    own = os.fsdecode(tree.LOST_AND_FOUND) if os.path.ismount(path) else None
    return [os.path.join(path, name) for name in os.listdir(path) if name != own]


def _mark(path: str, label: str) -> None:
    with contextlib.suppress(OSError):  # no extended attributes here: the next restore asks for replace=True
        os.setxattr(path, _MARK, label.encode("utf-8", "replace"))


def _build(root: bytes, manifest: Manifest, read: Read) -> None:
    nodes = manifest.nodes
    for node, written in zip(nodes, manifest.sizes_written, strict=True):
        path = os.path.join(root, node.path)
        if node.kind is Kind.FOLDER:
            os.mkdir(path, 0o700)
        elif node.kind is Kind.FILE and not 0 < written == node.size <= _MADE_LATER:
            descriptor = os.open(path, _CREATE, 0o600)
            try:
                os.ftruncate(descriptor, node.size)  # what no piece fills is a hole
            finally:
                os.close(descriptor)
    with Files([os.path.join(root, node.path) for node in nodes], manifest.sizes_written) as files:
        read(files.take)
    for node in nodes:
        if node.kind is Kind.LINK:
            os.symlink(node.target, os.path.join(root, node.path))


def _dress(root: bytes, nodes: Sequence[Node]) -> None:
    """Give every node its permissions and time; children first, for a folder's own may forbid to enter it."""
    for node in reversed(nodes):
        if node.kind is not Kind.LINK:
            path = os.path.join(root, node.path)
            os.utime(path, ns=(node.mtime_ns, node.mtime_ns))
            os.chmod(path, node.mode)


def _require_room(where: str, size: int) -> None:
    free = shutil.disk_usage(where).free
    if free < size:
        raise OSError(errno.ENOSPC, f"the checkpoint needs {size / MIB:.1f} MiB and {free / MIB:.1f} are free", where)


@contextlib.contextmanager
def _scratch(where: str, prefix: str) -> Iterator[str]:
    """A private folder, locked while it is in use, so that a later restore can tell it from a dead one's."""
    path = tempfile.mkdtemp(prefix=prefix, dir=where)
    process = os.getpid()
    try:
        lock = Held(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            fcntl.flock(lock.descriptor, fcntl.LOCK_EX)
            yield path
        finally:
            lock.close()
    finally:
        if os.getpid() == process:  # what a forked child leaves is its parent's, who goes on with it
            _remove(path)


def _remove_leftovers(where: str, prefix: str) -> None:
    for name in os.listdir(where):
        if not name.startswith(prefix):
            continue
        path = os.path.join(where, name)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # not a folder of ours, or gone meanwhile
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # somebody is restoring into it right now
        finally:
            os.close(lock)
        if prefix == _INSIDE and os.path.isdir(os.path.join(path, _REPLACED)):
            for half in _content(where):
                if not os.path.basename(half).startswith(_INSIDE):
                    _remove(half)
        _remove(path)


def _remove(path: str) -> None:
    """Remove a file or a whole tree, also one whose folders forbid it."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
    except FileNotFoundError:
        return
    os.chmod(path, 0o700)
    for folder, below, _ in os.walk(path):
        for name in below:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(path)
