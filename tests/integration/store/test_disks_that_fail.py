"""Real disks that are full, read-only or broken: each gives its stated error, and the store stays whole and usable.

The disks are small file systems in memory that the test mounts itself: it needs root, as a container's tests have.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from waypost import contract
from waypost.backends.opening import open_backend
from waypost.checkpoints import Checkpoints
from waypost.errors import StorageError
from waypost.store.calls import Budget, Calls
from waypost.store.handle import WritingHandle
from waypost.store.seams import Seams
from waypost.store.start import Writer

pytestmark = pytest.mark.integration

HASTY = Budget(seconds=1.0)
MIB = 1 << 20
Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes disks in memory with the mount options given."""
    mounted: list[Path] = []

    def make(options: str) -> Path:
        path = tmp_path / f"disk-{len(mounted)}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True, timeout=30)
        mounted.append(path)
        return path

    yield make
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", path], check=True, timeout=30)


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", path], check=True, timeout=30)


def fill(path: Path) -> Path:
    """Leave no room on the disk; gives the file to remove."""
    filler = path / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def open_store(path: Path, attempt: int = 1) -> Checkpoints:
    return Checkpoints(f"file://{path}/store", attempt=attempt, starting=HASTY, saving=HASTY)


def assert_whole(path: Path, *steps: int) -> None:
    """Exactly these checkpoints are there, the newest first, and every one can be read."""
    with Checkpoints(f"file://{path}/store") as reader:
        assert [info.step for info in reader.list()] == list(steps)
        for info in reader.list():
            assert reader.read_bytes(info.sequence) == content(info.step or 0)
    assert not list((path / "store" / ".tmp").iterdir()), "no unfinished file is left"


def content(step: int) -> bytes:
    return b"%d" % step * (10 if step % 2 else 300_000)


# --- The store's disk ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step", [3, 4], ids=["inline", "with a pack"])
def test_a_full_disk_is_named_and_nothing_half_written_counts(disk: Disk, step: int) -> None:
    path = disk("size=4m")
    with open_store(path) as store:
        for earlier in (1, 2):
            store.save(content(earlier), step=earlier, wait=True)
        filler = fill(path)
        with pytest.raises(StorageError, match=r"No space left on device.*Free space") as caught:
            store.save(content(step), step=step, wait=True)
        assert caught.value.outcome == "not saved"
        assert caught.value.uri == f"file://{path}/store"
        assert caught.value.exit_code == contract.EXIT_STORAGE
        assert_whole(path, 2, 1)
        with pytest.raises(StorageError, match=r"append FENCE.*No space left on device"):
            start_elsewhere(path)
        filler.unlink()
        store.save(content(5), step=5, wait=True)
    assert_whole(path, 5, 2, 1)
    with open_store(path, attempt=2) as second:
        assert second.read_bytes() == content(5)


def start_elsewhere(path: Path) -> None:
    """As the next attempt, on another machine, would: this process's own handle is none the wiser."""
    calls = Calls(open_backend(f"file://{path}/store"), Seams(), HASTY)
    WritingHandle(calls, Writer(2, "pod-2"), lambda: None, lambda info, save: None, HASTY)


def test_room_that_is_made_meanwhile_lets_the_save_through(disk: Disk) -> None:
    path = disk("size=4m")
    with Checkpoints(f"file://{path}/store", attempt=1) as store:
        filler = fill(path)
        saving = store.save(content(2), step=2)
        threading.Timer(0.5, filler.unlink).start()
        assert saving.result(60).step == 2
    assert_whole(path, 2)


def test_a_disk_that_is_full_in_the_middle_of_a_save_keeps_the_one_before(disk: Disk, tmp_path: Path) -> None:
    path, source = disk("size=40m"), tmp_path / "source"
    source.write_bytes(os.urandom(60 * MIB))
    with open_store(path) as store:
        store.save(content(1), step=1, wait=True)
        with pytest.raises(StorageError, match=r"write a pack to.*No space left on device") as caught:
            store.save(source, step=2, wait=True)
        assert caught.value.outcome == "not saved"
        store.save(content(3), step=3, wait=True)
    assert_whole(path, 3, 1)


def test_a_disk_without_inodes_is_named(disk: Disk) -> None:
    path = disk("size=4m,nr_inodes=40")
    with open_store(path) as store:
        store.save(content(1), step=1, wait=True)
        crumbs: list[Path] = []
        with contextlib.suppress(OSError):
            while True:
                crumbs.append(path / f"crumb-{len(crumbs)}")
                crumbs[-1].touch()
        with pytest.raises(StorageError, match=r"No space left on device.*\(or inodes\)") as caught:
            store.save(content(3), step=3, wait=True)
        assert caught.value.outcome == "not saved"
        for crumb in crumbs[:-1]:
            crumb.unlink()
        store.save(content(5), step=5, wait=True)
    assert_whole(path, 5, 1)


def test_a_disk_that_turns_read_only_is_named_at_once_and_can_still_be_read(disk: Disk) -> None:
    path = disk("size=4m")
    with Checkpoints(f"file://{path}/store", attempt=1) as store:
        store.save(content(1), step=1, wait=True)
        remount(path, "ro")
        began = time.monotonic()
        with pytest.raises(StorageError, match=r"Read-only file system.*mount it writable") as caught:
            store.save(content(2), step=2, wait=True)
        assert time.monotonic() - began < 10
        assert caught.value.outcome == "not saved"
        with pytest.raises(StorageError, match="Read-only file system"):
            start_elsewhere(path)
        assert_whole(path, 1)
        remount(path, "rw")
        store.save(content(3), step=3, wait=True)
    assert_whole(path, 3, 1)


def test_a_disk_that_can_not_be_read_is_an_error_and_no_reason_to_fall_back(disk: Disk) -> None:
    """EIO from the kernel: what /proc/self/mem answers at an address where nothing is."""
    path = disk("size=4m")
    with open_store(path) as store:
        for step in (2, 4):
            store.save(content(step), step=step, wait=True)
    [_, newest] = sorted((path / "store" / "packs").iterdir(), key=lambda pack: int(pack.name.split("-")[1]))
    kept = newest.rename(path / "kept")
    newest.symlink_to("/proc/self/mem")
    with open_store(path, attempt=2) as second:
        with pytest.raises(StorageError, match=r"read a pack of.*Input/output error"):
            second.read_bytes()
        kept.rename(newest)
        assert second.read_bytes() == content(4)


def test_a_disk_that_loses_what_it_was_given_confirms_nothing(tmp_path: Path) -> None:
    """EIO at the sync: a file system whose own device has lost its end."""
    image, path = tmp_path / "image", tmp_path / "mounted"
    path.mkdir()
    with open(image, "wb") as file:
        file.truncate(96 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True, timeout=60)
    subprocess.run(["mount", "-o", "loop,errors=continue", image, path], check=True, timeout=60)
    try:
        with open_store(path) as store:
            store.save(content(1), step=1, wait=True)
            os.truncate(image, 16 * MIB)
            loop = subprocess.run(
                ["losetup", "--noheadings", "--output", "NAME", "-j", image],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            subprocess.run(["losetup", "--set-capacity", loop.stdout.strip()], check=True, timeout=30)
            with pytest.raises(StorageError, match="Input/output error") as caught:
                store.save(os.urandom(64 * MIB), step=2, wait=True)
            assert caught.value.outcome == "not saved"
        assert_whole(path, 1)
    finally:
        subprocess.run(["umount", path], check=True, timeout=60)


# --- The program's own disk ------------------------------------------------------------------------------------------
@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A store with a checkpoint of 200 files, 20 MiB."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(200):
        (source / str(number)).write_bytes(bytes([number]) * (MIB // 10))
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        store.save(b"small", step=1, wait=True)
        store.save(source, step=2, wait=True)
    return tmp_path / "store"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("size=4m", "the checkpoint needs 20.0 MiB and"),
        ("size=64m,nr_inodes=50", "No space left on device"),
        ("size=64m", "Read-only file system"),
    ],
    ids=["full", "no inodes", "read-only"],
)
def test_a_restore_to_a_disk_that_refuses_leaves_the_folder_as_it_was(
    disk: Disk, saved: Path, options: str, words: str
) -> None:
    path = disk(options)
    with Checkpoints(f"file://{saved}") as reader:
        reader.restore(path / "work", 2)
        before = sorted(path.rglob("*"))
        if "Read-only" in words:
            remount(path, "ro")
        with pytest.raises(StorageError, match=words) as caught:
            reader.restore(path / "work")
        assert caught.value.uri == f"file://{path}/work"
        assert "local disk" in str(caught.value)
        assert sorted(path.rglob("*")) == before
        assert (path / "work" / "_dst_cp").read_bytes() == b"small"
        assert [info.step for info in reader.list()] == [2, 1], "the store isn't touched"


def test_a_background_save_without_room_for_its_copy_blocks_and_is_stored(
    disk: Disk, saved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = disk("size=4m")
    monkeypatch.setattr("tempfile.tempdir", str(path))
    with Checkpoints(f"file://{saved}", attempt=2) as store:
        saving = store.save(saved.parent / "source", step=3)
        assert saving.done(), "it was read in place, so save() returned when it was durable"
        assert saving.result().step == 3
    assert f"can't copy 20.0 MiB to {path}" in caplog.text
    assert os.strerror(errno.ENOSPC) in caplog.text
    assert not list(path.iterdir()), "the part of the copy that fitted is gone"
