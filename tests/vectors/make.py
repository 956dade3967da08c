"""Writes the vectors: `python -m tests.vectors.make`. What is expected comes from what was saved, not from a reader."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.unit.store.hostile.corpus import Store
from waypost.backends.opening import open_backend
from waypost.store.calls import STARTING, Calls
from waypost.store.handle import WritingHandle
from waypost.store.info import CheckpointInfo, SaveHandle
from waypost.store.saver import Job
from waypost.store.seams import Seams
from waypost.store.sizes import SIZES, Sizes
from waypost.store.sources import look
from waypost.store.start import IssuedFences, Writer

FOLDER = Path(__file__).parent
TIME = 1_795_427_130
PACKS = Sizes(inline=0)
"""Everything goes into packs, however little it is."""
Json = dict[str, Any]


def described(source: Path) -> Json:
    """A folder, by path: kind, permissions, time, and size and BLAKE3 of a file. Paths that aren't UTF-8 in base64."""
    found: Json = {}
    for folder, below, files in os.walk(os.fsencode(source)):
        for name in sorted(below + files):
            path = os.path.join(folder, name)
            relative, status = os.path.relpath(path, os.fsencode(source)), os.lstat(path)
            try:
                shown = relative.decode("utf-8")
            except UnicodeDecodeError:
                shown = "base64:" + base64.b64encode(relative).decode("ascii")
            if os.path.islink(path):
                found[shown] = ["link", os.readlink(path).decode()]
            elif os.path.isdir(path):
                found[shown] = ["folder", status.st_mode & 0o777, status.st_mtime_ns]
            else:
                content = Path(os.fsdecode(path)).read_bytes()
                digest = blake3(content).hexdigest()
                found[shown] = ["file", status.st_mode & 0o777, status.st_mtime_ns, len(content), digest]
    return found


def source(base: Path, number: int, **files: bytes) -> Path:
    """A folder to save: these files (`__` for a slash) under fixed times, each telling its number."""
    folder = base / f"source-{number}"
    folder.mkdir()
    (folder / "number").write_text(f"{number}")
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def settle(folder: Path) -> None:
    """Fixed times and permissions, whatever the umask."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if not path.is_symlink():
            os.chmod(path, 0o755 if path.is_dir() else 0o644)
            os.utime(path, ns=(TIME * 10**9, TIME * 10**9 + 975_302_649))


class Maker:
    """One vector on its way."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, base / "store"
        self.spoilt = Store(self.folder)
        self._nonces = itertools.count(1)
        self.saved: dict[int, Json] = {}

    def attempt(self, number: int, *sources: Path, complete: bool = False, sizes: Sizes = SIZES) -> None:
        """An attempt that saves these folders, one after the other."""
        now = datetime.datetime.fromtimestamp(TIME + number, datetime.UTC)
        seams = Seams(nonce=lambda: f"{next(self._nonces):032x}", now=lambda: now)
        calls = Calls(open_backend(self.folder.as_uri()), seams)
        handle = WritingHandle(
            calls, Writer(number, None), lambda: None, lambda info, save: None, STARTING, IssuedFences(), sizes
        )
        for step, folder in enumerate(sources):
            settle(folder)
            metrics = {"loss": 0.5 / number, "bad": float("nan")}
            job: Job[CheckpointInfo] = Job(look(folder), step, metrics, {"by": number}, keeps_turn=True)
            handle.saver.submit(job)
            self.saved[SaveHandle(job.latch).result().sequence] = described(folder)
        if complete:
            handle.complete()
        handle.close()

    def two(self, sizes: Sizes = SIZES) -> None:
        """Checkpoints 2 and 3."""
        self.attempt(1, source(self.base, 1), source(self.base, 2, more=b"m" * 500), sizes=sizes)

    def pack_of(self, sequence: int) -> Path:
        name: str = self.spoilt.entry(sequence)["manifest"]["packs"][0]["name"]
        return self.folder / "packs" / name


def plain(m: Maker) -> Json:
    m.two()
    return {"restores": 3, "live": [2, 3]}


def nothing_saved(m: Maker) -> Json:
    m.attempt(1)
    m.attempt(2)
    return {"nothing": True, "live": []}


def every_kind(m: Maker) -> Json:
    folder = source(m.base, 1, deep__er__file=b"y" * 100, empty=b"")
    (folder / "void").mkdir()
    (folder / "latest").symlink_to("deep/er/file")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).write_bytes(b"odd")
    m.attempt(1, folder)
    return {"restores": 2, "live": [2]}


def in_packs(m: Maker) -> Json:
    m.two(PACKS)
    return {"restores": 3, "live": [2, 3]}


def manifest_apart(m: Maker) -> Json:
    m.attempt(1, source(m.base, 1, **{f"file{n}": b"%d" % n for n in range(5)}), sizes=Sizes(inline=0, manifest=0))
    return {"restores": 2, "live": [2]}


def sparse(m: Maker) -> Json:
    folder = source(m.base, 1)
    (folder / "number").unlink()
    with open(folder / "sparse", "wb") as file:
        file.seek(3_000_000)
        file.write(b"between holes")
        file.truncate(7_000_000)
    m.attempt(1, folder)
    return {"restores": 2, "live": [2]}


def pruned(m: Maker) -> Json:
    m.attempt(1, *(source(m.base, n) for n in (1, 2, 3)))
    m.spoilt.append(5, type="PRUNE", attempt=0, fence=0, prunes=[[2, 3]], live=[[4, 4]])
    for number in (2, 3):
        stub = {key: value for key, value in m.spoilt.entry(number).items() if key not in ("manifest", "data")}
        m.spoilt.put(number, stub | {"stub": True})
    return {"restores": 4, "live": [4]}


def pruned_by_a_save(m: Maker) -> Json:
    m.two()
    m.spoilt.change(3, prunes=[[2, 2]], live=[[3, 3]])
    return {"restores": 3, "live": [3]}


def pinned(m: Maker) -> Json:
    m.two()
    m.spoilt.append(4, type="PIN", attempt=0, fence=0, target=2, pinned=[[2, 2]])
    m.spoilt.append(5, type="PIN", attempt=0, fence=0, target=3, pinned=[[2, 3]])
    m.spoilt.append(6, type="UNPIN", attempt=0, fence=0, target=2, pinned=[[3, 3]])
    return {"restores": 3, "live": [2, 3], "pinned": [3]}


def completed(m: Maker) -> Json:
    m.attempt(1, source(m.base, 1), complete=True)
    return {"restores": 2, "live": [2], "completed": True}


def deleted(m: Maker) -> Json:
    m.two()
    m.spoilt.append(4, attempt=2**63 - 1, fence=4)
    return {"error": "deleted"}


def unreadable_newest(m: Maker) -> Json:
    m.two()
    m.spoilt.key(3).write_bytes(m.spoilt.key(3).read_bytes()[:-40])
    return {"restores": 2, "live": [2]}


def unreadable_behind_a_fence(m: Maker) -> Json:
    m.two()
    m.attempt(2)
    m.spoilt.key(3).write_bytes(b"")
    return {"restores": 2, "live": [2, 3], "listed": [2]}


def unreadable_only_save(m: Maker) -> Json:
    m.attempt(1, source(m.base, 1))
    m.spoilt.key(2).write_bytes(b"?")
    return {"error": "corrupt"}


def damaged_pack(m: Maker) -> Json:
    m.two(PACKS)
    pack = m.pack_of(3)
    pack.write_bytes(pack.read_bytes()[:-1] + b"?")
    return {"restores": 2, "live": [2, 3]}


def every_pack_gone(m: Maker) -> Json:
    m.two(PACKS)
    for number in (2, 3):
        m.pack_of(number).unlink()
    return {"error": "corrupt"}


def branch_left_aside(m: Maker) -> Json:
    """4 goes on from 2, because 3 was damaged for a while: when 4 is damaged, 3 is another branch."""
    m.attempt(1, *(source(m.base, n) for n in (1, 2, 3)), sizes=PACKS)
    m.spoilt.change(4, parent=2)
    m.pack_of(4).unlink()
    return {"restores": 2, "live": [2, 3, 4]}


def from_another_store(m: Maker) -> Json:
    m.attempt(1, source(m.base, 1))
    m.spoilt.change(2, parent={"uri": "s3://bucket/runs/ml/base-0d5dfdb4", "sequence": 12})
    return {"restores": 2, "live": [2]}


def damaged_behind_another_store(m: Maker) -> Json:
    m.attempt(1, source(m.base, 1), sizes=PACKS)
    m.spoilt.change(2, parent={"uri": "s3://bucket/runs/ml/base-0d5dfdb4", "sequence": 12})
    m.pack_of(2).unlink()
    return {"error": "corrupt"}


def members_of_the_future(m: Maker) -> Json:
    m.two()
    m.spoilt.change(3, future={"a": [1, 2]})
    return {"restores": 3, "live": [2, 3]}


def type_of_the_future(m: Maker) -> Json:
    m.two()
    m.spoilt.append(4, type="TELEPORT")
    return {"restores": 3, "live": [2, 3]}


def strangers_in_the_log(m: Maker) -> Json:
    m.two()
    for name in ("0.json", "...json", "00000000000000000000.json.tmp", "readme"):
        (m.folder / "log" / name).write_text("?")
    return {"restores": 3, "live": [2, 3]}


MAKERS: tuple[Callable[[Maker], Json], ...] = (
    *(plain, nothing_saved, every_kind, in_packs, manifest_apart, sparse, pruned, pruned_by_a_save, pinned, completed),
    *(deleted, unreadable_newest, unreadable_behind_a_fence, unreadable_only_save, damaged_pack, every_pack_gone),
    *(branch_left_aside, from_another_store, damaged_behind_another_store, members_of_the_future, type_of_the_future),
    strangers_in_the_log,
)


def main() -> None:
    for make in MAKERS:
        target = FOLDER / make.__name__.replace("_", "-")
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as base:
            maker = Maker(Path(base))
            expect = make(maker)
            if "restores" in expect:
                expect["files"] = maker.saved[expect["restores"]]
            for useless in (".tmp", "probe"):
                shutil.rmtree(maker.folder / useless, ignore_errors=True)
            shutil.copytree(maker.folder, target / "store")
        (target / "expect.json").write_text(json.dumps(expect, indent=1) + "\n")


if __name__ == "__main__":
    main()
