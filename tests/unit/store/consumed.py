"""What programs give up, and how tests tell where it is."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from waypost.checkpoints import Checkpoints

SIZE = 200_000


def made(place: Path, content: bytes = b"a", size: int = SIZE) -> Path:
    """A folder with something of everything."""
    (place / "deep").mkdir(parents=True)
    (place / "a").write_bytes(content * size)
    (place / "deep" / "b").write_bytes(b"b" * size)
    (place / "link").symlink_to("deep/b")
    return place


def given(parent: Path) -> list[Path]:
    """What has been given up in a folder and stands there."""
    return sorted(path for path in parent.iterdir() if path.name.startswith(".waypost-given-"))


def whole(place: Path) -> dict[str, object]:
    """All that is in a folder, or of a file: what a restore has to bring back of it."""
    if not place.is_dir():
        return {"": place.read_bytes()}
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        status, name = path.lstat(), str(path.relative_to(place))
        if stat.S_ISLNK(status.st_mode):
            found[name] = os.readlink(path)
        elif stat.S_ISDIR(status.st_mode):
            found[name] = None
        else:
            found[name] = path.read_bytes(), status.st_mtime_ns
    return found


class Kept:
    """Where each of several contents is, in whatever order things happen: on the disk, or in the store."""

    def __init__(self, parent: Path, scratch: Path, open_store: Callable[[], Checkpoints]) -> None:
        """`open_store` opens the store to read it; `scratch` is for what is restored from it."""
        self.parent, self._scratch, self._open = parent, scratch, open_store
        self.made: list[dict[str, object]] = []
        self._stored: dict[int, dict[str, object]] = {}

    def remember(self, place: Path) -> None:
        """All of what stands here must never be lost."""
        self.made.append(whole(place))

    def on_the_disk(self) -> list[dict[str, object]]:
        """What stands in the folder, under whatever name; a part of something that is being removed is no match."""
        found = []
        for path in self.parent.iterdir():
            with contextlib.suppress(FileNotFoundError):  # it is being moved or removed
                found.append(whole(path))
        return found

    def in_the_store(self) -> list[dict[str, object]]:
        """What its checkpoints restore to."""
        with self._open() as store:
            for info in store.list():
                if info.sequence not in self._stored:
                    target = self._scratch / f"{info.sequence}"
                    store.restore(target, info.sequence)
                    files = list(target.iterdir())
                    single = len(files) == 1 and files[0].is_file()
                    self._stored[info.sequence] = whole(files[0] if single else target)
        return list(self._stored.values())

    def lost(self) -> list[dict[str, object]]:
        """What is in neither, looked for on the disk first: it is stored before it is removed."""
        missing = self.made
        for _ in range(3):  # it may get its name back between two looks
            there = self.on_the_disk()
            missing = [one for one in missing if one not in there]
        stored = self.in_the_store() if missing else []
        return [one for one in missing if one not in stored]
