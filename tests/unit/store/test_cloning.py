"""Snapshots by clones and by copies: private, whole, and no trace of them afterwards."""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.packages import require_packages
from waypost.store import beside, cloning, copying, crew, sources
from waypost.store.cloning import cloned
from waypost.store.keys import MIB
from waypost.store.settled import Settled
from waypost.store.sources import Content


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(copying, "MAX_IN_MEMORY", 0)
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that clones: Btrfs in a file, for a moment."""
    try:
        require_packages(["btrfs-progs"])
    except ClusterError as error:
        pytest.skip(f"no file system that clones can be made here: {error}")
    if os.geteuid():
        pytest.skip("no file system that clones can be mounted here: that takes root")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with open(image, "wb") as file:
        file.truncate(128 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False, capture_output=True).returncode:
        pytest.skip("no file system that clones can be made here: mounting is refused")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def source_in(parent: Path, size: int = 3 * MIB) -> Path:
    folder = parent / "run" / "state"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(os.urandom(size))
    with open(folder / "deep" / "sparse", "wb") as file:
        file.seek(4 * MIB)
        file.write(b"end" * 1000)
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("deep/sparse")
    return folder


def content_of(content: Content) -> dict[bytes, bytes]:
    return {
        node.path: b"".join(bytes(len(piece)) if isinstance(piece, sources.Hole) else piece for piece in pieces)
        for node, pieces in ((node, content.pieces(index)) for index, node in enumerate(content.nodes))
    }


def test_a_clone_is_private_whole_and_untouched_by_what_the_program_writes(disk: Path) -> None:
    folder = source_in(disk)
    before = content_of(sources.look(folder))
    os.sync()
    content = cloned(sources.look(folder), folder)
    assert content is not None
    assert content.copied
    (private,) = [path for path in folder.parent.iterdir() if path != folder]
    assert os.stat(private).st_mode & 0o777 == 0o700
    with open(folder / "a", "r+b") as file:
        file.write(b"changed in place")
    (folder / "deep" / "sparse").unlink()
    assert content_of(content) == before
    content.close()
    assert os.listdir(folder.parent) == ["state"]


def test_what_is_not_on_the_disk_yet_is_not_cloned(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = source_in(disk)
    monkeypatch.setattr(cloning, "_unwritten", lambda descriptor: MIB)
    assert cloned(sources.look(folder), folder) is None
    assert os.listdir(folder.parent) == ["state"]


def test_the_kernel_tells_what_is_not_on_the_disk_yet(tmp_path: Path) -> None:
    release = tuple(int(number) for number in os.uname().release.split(".")[:2])
    tells = release >= (6, 5) and os.stat(tmp_path).st_dev in Settled()._devices()
    with open(tmp_path / "file", "wb") as file:
        file.write(os.urandom(MIB))
        file.flush()
        assert cloning._unwritten(file.fileno()) == (MIB if tells else 0)
        os.fsync(file.fileno())
        assert cloning._unwritten(file.fileno()) == 0


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSPC])
def test_where_no_clone_can_be_made_nothing_is_left(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source_in(tmp_path)

    def refuse(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(cloning, "_unwritten", lambda descriptor: 0)
    monkeypatch.setattr(cloning, "_without", {None})
    assert cloned(sources.look(folder), folder) is None
    assert os.listdir(folder.parent) == ["state"]
    assert (len(cloning._without) == 2) == (error in (errno.EOPNOTSUPP, errno.EINVAL))


@pytest.mark.parametrize("means", ["copy_file_range", "sendfile", "nothing said"])
@pytest.mark.parametrize("threads", [1, 4])
def test_a_copy_is_private_and_whole_by_whatever_means(
    means: str, threads: int, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source_in(tmp_path)
    monkeypatch.setattr(copying, "_STRETCH", MIB)
    monkeypatch.setattr(copying, "_AT_ONCE", 300_000)
    monkeypatch.setattr(crew, "cores", lambda: threads)

    def elsewhere(*_: Any) -> int:
        if means == "sendfile":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return 0

    if means != "copy_file_range":
        monkeypatch.setattr(os, "copy_file_range", elsewhere)
    before = content_of(sources.look(folder))
    content = copying.copy(sources.look(folder))
    (private,) = scratch.iterdir()
    assert os.stat(private).st_mode & 0o777 == 0o700
    assert all(os.stat(path).st_mode & 0o777 == 0o600 for path in private.iterdir())
    shutil.rmtree(folder)
    assert content_of(content) == before
    sizes = {os.stat(path).st_size: os.stat(path).st_blocks * 512 for path in private.iterdir()}
    assert sizes[4 * MIB + 3000] < MIB, "the hole takes room"
    content.close()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_copy_that_fails_leaves_nothing_and_no_thread(
    error: BaseException, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source_in(tmp_path)
    monkeypatch.setattr(copying, "_STRETCH", MIB)
    monkeypatch.setattr(crew, "cores", lambda: 4)
    running = _thread._count()

    def fail(*_: Any) -> int:
        raise error

    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(type(error)):
        copying.copy(sources.look(folder))
    assert list(scratch.iterdir()) == []
    assert _thread._count() <= running


def test_a_file_that_changes_while_it_is_copied_fails_the_copy(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source_in(tmp_path)
    some = copying._some

    def changing(*arguments: int) -> int:
        with open(folder / "a", "ab") as file:
            file.write(b"x")
        return some(*arguments)

    monkeypatch.setattr(copying, "_some", changing)
    with pytest.raises(OSError, match="changed while it was being saved"):
        copying.copy(sources.look(folder))
    assert list(scratch.iterdir()) == []


def test_the_copy_of_a_killed_program_goes_with_the_next_one_and_one_in_use_does_not(
    scratch: Path, tmp_path: Path
) -> None:
    folder = source_in(tmp_path)
    dead, used = (beside.Private(os.fsencode(scratch), copying.COPIES) for _ in range(2))
    Path(os.fsdecode(dead.at(b"0"))).write_bytes(b"x")
    dead.let_go()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x")
    (outside / os.fsdecode(beside.MARK)).touch()
    (scratch / ".waypost-copy-link").symlink_to(outside)
    others = {".waypost-copy-link", ".waypost-copy-not-ours", "waypost-save-results"}
    for name in others - {".waypost-copy-link"}:
        (scratch / name).mkdir()
        (scratch / name / "theirs").write_bytes(b"x")
    copying.copy(sources.look(folder)).close()
    assert {path.name for path in scratch.iterdir()} == others | {os.path.basename(os.fsdecode(used.path))}
    assert all((scratch / name / "theirs").exists() for name in others - {".waypost-copy-link"})
    assert (outside / "kept").exists()
    used.remove()


def test_what_another_user_has_left_is_not_removed(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = beside.Private(os.fsencode(scratch), copying.COPIES)
    theirs.let_go()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        beside.sweep(os.fsencode(scratch), copying.COPIES)
    assert os.path.exists(theirs.path)
    beside.sweep(os.fsencode(scratch), copying.COPIES)
    assert not os.path.exists(theirs.path)
