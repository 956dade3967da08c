"""Folders of servers that live as long as one test, and the sweep that finds what a killed test left.

A test run that is killed hard can't end its servers. Every such folder therefore names its owner (a process,
see processes.py), and whoever makes the next one first ends and removes those whose owner is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from .cache import cache_dir, locked
from .processes import Process, boot_id, end_all, start_time

_OWNER = "owner.json"


def make_folder(kind: str) -> Path:
    """A new folder `<cache>/temporary/<kind>-...` owned by this process."""
    root = cache_dir() / "temporary"
    root.mkdir(exist_ok=True)
    with locked("temporary"):
        for folder in root.iterdir():
            if not _owned(folder):
                remove_folder(folder)
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=root))
        me = Process("owner", os.getpid(), start_time(os.getpid()) or 0, boot_id(), "")
        (folder / _OWNER).write_text(json.dumps(asdict(me)))
    return folder


def remove_folder(folder: Path) -> None:
    """End whatever was started in the folder, then remove it."""
    end_all(Process.recorded(folder), grace_seconds=0)
    shutil.rmtree(folder, ignore_errors=True)


def _owned(folder: Path) -> bool:
    try:
        return Process(**json.loads((folder / _OWNER).read_text())).alive
    except FileNotFoundError:
        return False
