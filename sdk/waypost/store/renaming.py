"""A rename within one folder that replaces nothing, whatever the file system.

Linux has it as renameat2 with RENAME_NOREPLACE (https://man7.org/linux/man-pages/man2/rename.2.html). Where the C
library or the file system hasn't, it is made of what replaces nothing that holds anything: a folder may be renamed over
an empty one only, which is made for it; a file is linked, which fails where something stands, and loses its old name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Any, Final, Protocol

from waypost.store import tree

_NOREPLACE: Final = 1
_NOT_HERE: Final = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
"""As file systems say that they don't know the flag, and sandboxes that they don't know the call."""


class Remove(Protocol):
    """Removes what was made to be replaced."""

    def __call__(self, path: bytes, /, *, dir_fd: int) -> None:
        """`os.rmdir` or `os.unlink`."""


def _found() -> Any:
    """The C library's renameat2; None where it has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call


_renameat2: Final = _found()


def rename(at: int, old: bytes, new: bytes, *, folder: bool, reserve: bool) -> None:
    """Rename `old`, a `folder` or a file, to `new` in the open folder `at`. Raises FileExistsError, OSError.

    `reserve`: nobody else knows the new name, so that a placeholder there will be replaced by nobody but this. Without,
    a file may have both names when this is interrupted.
    """
    if _renameat2 is not None:
        if not _renameat2(at, old, at, new, _NOREPLACE):
            return
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code), tree.show(old), None, tree.show(new))
    if folder:
        os.mkdir(new, 0o700, dir_fd=at)
        _over(at, old, new, os.rmdir)
    elif reserve:
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=at))
        _over(at, old, new, os.unlink)
    else:
        os.link(old, new, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
        os.unlink(old, dir_fd=at)


def _over(at: int, old: bytes, new: bytes, remove: Remove) -> None:
    """Over the empty one that was made for it."""
    try:
        os.rename(old, new, src_dir_fd=at, dst_dir_fd=at)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove(new, dir_fd=at)  # a folder only if it is empty still
        if error.errno in (errno.ENOTEMPTY, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), tree.show(new)) from error
        raise
