"""A file that is as it was costs a stat; whatever could have changed it unseen makes it be read."""

from __future__ import annotations

import dataclasses
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.store.stepped import Process, SteppedBackend
from tests.unit.store.test_incremental import data, sent
from waypost.checkpoints import Checkpoints
from waypost.store import packing, settled
from waypost.store.settled import SETTLES_AFTER, Settled
from waypost.store.sizes import Sizes
from waypost.store.sources import Content, look

SIZES = Sizes(inline=100, pack=1000)


def later(nanoseconds: int = 2 * SETTLES_AFTER) -> Callable[[], int]:
    """A clock that is ahead by so much: as if the files had been written so long ago."""
    return lambda: time.time_ns() + nanoseconds


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder on a file system that tells of writes."""
    if os.stat(tmp_path).st_dev not in Settled()._devices():
        pytest.skip("the folder for tests is neither on ext4 nor on xfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def process() -> Process:
    made = Process(SteppedBackend(), sizes=SIZES)
    made.handle._uploads.settled = Settled(later())
    return made


def count_reads(process: Process, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The paths of files that are opened to be read."""
    read: list[bytes] = []
    whole = process.handle._uploads.packer

    def packer(content: Content, *others: object) -> object:
        read.extend(node.path for node in content.nodes)
        return whole(content, *others)  # type: ignore[arg-type]

    process.handle._uploads.packer = packer  # type: ignore[assignment]
    return read


def write(disk: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (disk / name).write_bytes(content)
    return disk


def restored(process: Process, tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / f"restored-{time.time_ns()}"
    Checkpoints(backend=process.backend, attempt=None).restore(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_as_it_was_is_not_read_and_comes_back(
    process: Process, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(disk, a=data(1, 2), b=data(3), c=b"")
    process.save(str(disk))
    read = count_reads(process, monkeypatch)
    sent(process.backend)
    write(disk, b=data(4))
    process.save(str(disk))
    assert b"a" not in read
    assert b"b" in read
    assert sent(process.backend) == 1
    assert restored(process, tmp_path) == {"a": data(1, 2), "b": data(4), "c": b""}
    process.save(str(disk))
    assert restored(process, tmp_path) == {"a": data(1, 2), "b": data(4), "c": b""}


def test_a_file_that_grew_is_cut_as_the_whole_was(
    process: Process, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The more there is the larger are the chunks; the one file that has to be read is much less than all."""
    monkeypatch.setattr(packing, "_CHUNK", 100)
    monkeypatch.setattr(packing, "_MOST_CHUNKS", 10)
    write(disk, a=data(1, 2, 3), b=data(4, 5, 6))
    process.save(str(disk))
    before = set(process.backend.packs())
    write(disk, b=data(4, 5, 6, 7))
    process.save(str(disk))
    fresh = [key for key in process.backend.packs() if key not in before]
    assert sum(len(process.backend.objects[key]) for key in fresh) < 2000


def rewritten_with_its_old_time(path: Path) -> None:
    before = os.stat(path)
    path.write_bytes(data(8, 9))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced_by_another_of_the_same_time(path: Path) -> None:
    before = os.stat(path)
    (path.parent.parent / "new").write_bytes(data(8, 9))
    os.utime(path.parent.parent / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(path.parent.parent / "new", path)


def written_through_a_mapping(path: Path) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = data(8, 9)


@pytest.mark.parametrize(
    "change", [rewritten_with_its_old_time, replaced_by_another_of_the_same_time, written_through_a_mapping]
)
def test_a_file_of_the_same_size_that_was_changed_by_whatever_means_is_read(
    process: Process, disk: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    write(disk, a=data(1, 2))
    process.save(str(disk))
    change(disk / "a")
    process.save(str(disk))
    assert restored(process, tmp_path) == {"a": data(8, 9)}


def test_a_file_that_was_written_just_before_it_was_looked_at_is_read_again(disk: Path) -> None:
    """Whoever writes once more within the same tick leaves the same times."""
    content = look(str(write(disk, a=b"x")))
    assert Settled().identities(content) == {}
    assert Settled(later(SETTLES_AFTER - 10**9)).identities(content) == {}
    assert list(Settled(later()).identities(content)) == [0]


def test_a_file_that_a_process_maps_for_writing_is_read_again(disk: Path) -> None:
    """While its pages are dirty, what is written through the mapping moves no time."""
    content = look(str(write(disk, a=data(1), b=data(2))))
    with open(disk / "a", "r+b") as file, mmap.mmap(file.fileno(), 0):
        assert list(Settled(later()).identities(content)) == [1]
    with open(disk / "a", "rb") as reader, mmap.mmap(reader.fileno(), 0, access=mmap.ACCESS_READ):
        assert list(Settled(later()).identities(content)) == [0, 1]


def test_a_file_system_that_does_not_tell_of_writes_is_not_believed() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("there is no tmpfs here")
    path = Path(f"/dev/shm/waypost-test-{os.getpid()}")
    try:
        path.write_bytes(b"x")
        assert Settled(later()).identities(look(str(path))) == {}
    finally:
        path.unlink(missing_ok=True)


def test_copies_and_bytes_have_no_identity(disk: Path) -> None:
    content = look(str(write(disk, a=b"x")))
    assert Settled(later()).identities(dataclasses.replace(content, copied=True)) == {}
    assert Settled(later()).identities(look(b"bytes")) == {}


def test_a_file_that_changed_since_it_was_listed_is_left_to_its_reader(disk: Path) -> None:
    content = look(str(write(disk, a=b"x")))
    write(disk, a=b"other")
    assert Settled(later()).identities(content) == {}
    (disk / "a").unlink()
    assert Settled(later()).identities(content) == {}


def test_what_is_not_worth_naming_again_is_read_although_it_is_settled(
    process: Process, disk: Path, tmp_path: Path
) -> None:
    write(disk, a=data(1)[:400], b=data(2)[:600])
    process.save(str(disk))
    (disk / "b").unlink()
    process.save(str(disk))  # of the pack 400 bytes are of use
    process.handle._uploads._known._standing.popitem(last=False)
    sent(process.backend)
    process.save(str(disk))
    assert sent(process.backend) == 1
    assert restored(process, tmp_path) == {"a": data(1)[:400]}


def test_a_minute_is_longer_than_any_tick_and_than_pages_stay_dirty() -> None:
    expires = Path("/proc/sys/vm/dirty_expire_centisecs")
    assert settled.SETTLES_AFTER >= 2 * 10**9
    if expires.exists():
        assert int(expires.read_text()) * 10**7 < settled.SETTLES_AFTER
