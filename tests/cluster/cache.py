"""Where everything that is built, downloaded or started is kept: one folder, safe to delete.

`$WAYPOST_CACHE` or `~/.cache/waypost`. Nothing outside it is written, except what a running cluster must
have in the kernel (links, mounts, rules), which `down` takes back. Things appear in it whole: they are made
under a temporary name next to their place and renamed, and a file lock keeps two processes from making the
same thing twice.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder, created when missing."""
    chosen = os.environ.get("WAYPOST_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "waypost"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name` (a file under the cache folder); waits while another holds it.

    The kernel lets go of the lock when its holder dies, so there is no stale lock to clean.
    """
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
