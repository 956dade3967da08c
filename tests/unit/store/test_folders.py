"""Folders: what is restored is what was saved, all of it or nothing, and never outside its folder."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.store.stepped import Process, SteppedBackend
from waypost.checkpoints import Checkpoints
from waypost.context import STAGING_PREFIX
from waypost.errors import ConfigurationError, CorruptCheckpointError, StorageError
from waypost.store import copying, placing, sizes, sources, tree
from waypost.store.tree import Kind


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=SteppedBackend()) as opened:
        yield opened


def fingerprint(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything about a folder that a checkpoint keeps, seen without the code under test."""
    found: dict[bytes, tuple[object, ...]] = {}
    for folder, below, files in os.walk(os.fsencode(root)):
        for name in below + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, os.fsencode(root))
            if stat.S_ISLNK(status.st_mode):
                found[relative] = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = ("folder", stat.S_IMODE(status.st_mode), status.st_mtime_ns)
            else:
                content = Path(os.fsdecode(path)).read_bytes()
                found[relative] = ("file", stat.S_IMODE(status.st_mode), status.st_mtime_ns, content)
    return found


names = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))
trees = st.recursive(
    st.binary(max_size=40) | st.integers(70_000, 90_000).map(lambda size: b"x" * size),
    lambda inner: st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


def build(path: bytes, content: bytes | dict[bytes, object]) -> None:
    if isinstance(content, bytes):
        Path(os.fsdecode(path)).write_bytes(content)
        os.utime(path, ns=(len(content) * 10**9 + 123_456_789, len(content) * 10**9 + 123_456_789))
        os.chmod(path, 0o600 | len(content) % 0o200)
        return
    os.mkdir(path)
    for name, inner in content.items():
        build(os.path.join(path, name), inner)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(names, trees, max_size=5))
def test_any_folder_comes_back_as_it_was(
    store: Checkpoints, tmp_path_factory: pytest.TempPathFactory, content: dict[bytes, object]
) -> None:
    base = tmp_path_factory.mktemp("tree")
    build(os.fsencode(base / "source"), content)
    store.save(base / "source", wait=True)
    store.restore(base / "restored")
    assert fingerprint(base / "restored") == fingerprint(base / "source")


def test_files_larger_than_packs_and_many_small_ones_come_back(tmp_path: Path) -> None:
    process = Process(SteppedBackend(), sizes=sizes.Sizes(pack=5000))
    source = tmp_path / "source"
    (source / "small").mkdir(parents=True)
    (source / "large").write_bytes(os.urandom(200_000))
    (source / "zeros").write_bytes(bytes(100_000))
    for number in range(500):
        (source / "small" / f"{number}").write_bytes(b"%d" % number * number)
    process.save(source)
    Checkpoints(backend=process.backend, attempt=None).restore(tmp_path / "restored")
    assert len(process.backend.packs()) > 20
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_links_inside_stay_links(store: Checkpoints, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "file").write_text("x")
    (source / "latest").symlink_to("a/b/file")
    (source / "a" / "up").symlink_to("../latest")
    (source / "dangling").symlink_to("a/nowhere")
    store.save(source, wait=True)
    store.restore(tmp_path / "restored")
    assert fingerprint(tmp_path / "restored") == fingerprint(source)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside", "a/../a"])
def test_a_link_that_may_lead_out_is_refused_when_saved(store: Checkpoints, tmp_path: Path, target: str) -> None:
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "link").symlink_to(target)
    with pytest.raises(ConfigurationError, match=r"symbolic link link -> .*replace it by what it leads to"):
        store.save(source, wait=True)
    assert store.latest() is None


def test_a_pipe_in_the_folder_is_refused_and_not_left_out(store: Checkpoints, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="pipe is a socket, pipe or device"):
        store.save(tmp_path, wait=True)


def test_a_file_comes_back_under_its_name_and_bytes_as_flytes_file(store: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    store.save(tmp_path / "model.pt", wait=True)
    assert store.read_bytes() == b"weights"
    store.restore(tmp_path / "one")
    assert (tmp_path / "one" / "model.pt").read_bytes() == b"weights"
    store.save(b"state", wait=True)
    store.restore(tmp_path / "two")
    assert os.listdir(tmp_path / "two") == ["_dst_cp"]


def test_a_link_to_the_newest_folder_is_saved_as_what_it_leads_to(store: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "step-5").mkdir()
    (tmp_path / "step-5" / "state").write_text("5")
    (tmp_path / "latest").symlink_to("step-5")
    (tmp_path / "last.pt").symlink_to("step-5/state")
    store.save(tmp_path / "latest", wait=True)
    store.restore(tmp_path / "out")
    assert (tmp_path / "out" / "state").read_text() == "5"
    store.save(tmp_path / "last.pt", wait=True)
    store.restore(tmp_path / "file")
    assert (tmp_path / "file" / "last.pt").read_text() == "5"


# --- Where it may be restored to -------------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_left_alone(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"state", wait=True)
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").write_text("mine")
    with pytest.raises(ConfigurationError, match="replace=True"):
        store.restore(target)
    assert os.listdir(target) == ["precious"]
    store.restore(target, replace=True)
    assert os.listdir(target) == ["_dst_cp"]


def test_a_file_is_left_alone(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"state", wait=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigurationError):
        store.restore(tmp_path / "file")
    store.restore(tmp_path / "file", replace=True)
    assert (tmp_path / "file" / "_dst_cp").read_bytes() == b"state"


def test_an_earlier_restore_of_ours_is_replaced_exactly(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"one", wait=True)
    target = tmp_path / "deep" / "target"
    store.restore(target)
    (target / "left over").write_text("by the program")
    store.save(b"two", wait=True)
    store.restore(target)
    assert os.listdir(target) == ["_dst_cp"]
    assert (target / "_dst_cp").read_bytes() == b"two"
    assert os.listdir(tmp_path / "deep") == ["target"], "nothing is left beside it"


def test_a_folder_made_by_the_user_in_the_place_of_ours_is_not_ours(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"one", wait=True)
    target = tmp_path / "target"
    store.restore(target)
    placing._remove(str(target))
    target.mkdir()
    (target / "precious").write_text("mine")
    with pytest.raises(ConfigurationError):
        store.restore(target)


def test_read_only_folders_are_restored_and_replaced(store: Checkpoints, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sealed").mkdir(parents=True)
    (source / "sealed" / "file").write_text("x")
    os.chmod(source / "sealed" / "file", 0o400)
    os.chmod(source / "sealed", 0o500)
    store.save(source, wait=True)
    for _ in range(2):
        store.restore(tmp_path / "restored")
        assert fingerprint(tmp_path / "restored") == fingerprint(source)


def test_a_restore_into_a_place_that_can_not_be_renamed_is_exact_too(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume's mount point, with the lost+found of its file system."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a").mkdir(parents=True)
    (source / "a" / "file").write_text("x")
    os.chmod(source / "a", 0o500)
    target.mkdir()
    (target / "lost+found").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) in (str(target), os.fsencode(target)))
    store.save(source, wait=True)
    for _ in range(2):
        store.restore(target)
        assert sorted(os.listdir(target)) == ["a", "lost+found"]
        (target / "by the program").write_text("?")
    os.remove(target / "by the program")
    store.save(target, wait=True)
    store.restore(tmp_path / "again")
    assert os.listdir(tmp_path / "again") == ["a"], "lost+found isn't saved"


def test_what_a_killed_restore_left_is_cleared_by_the_next(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"state", wait=True)
    (tmp_path / ".target.waypost-dead").mkdir()
    (tmp_path / ".target.waypost-dead" / "half").write_text("?")
    store.restore(tmp_path / "target")
    assert os.listdir(tmp_path) == ["target"]


def test_the_staging_of_a_flyte_restore_does_not_make_a_folder_ours(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"state", wait=True)
    (tmp_path / "precious").write_text("mine")
    (tmp_path / f"{STAGING_PREFIX}dead").mkdir()
    with pytest.raises(ConfigurationError):
        store.restore(tmp_path)


def test_a_restore_that_fails_changes_nothing(store: Checkpoints, tmp_path: Path) -> None:
    store.save(b"x" * 100_000, wait=True)
    target = tmp_path / "target"
    store.restore(target)
    backend = store._calls.backend
    assert isinstance(backend, SteppedBackend)
    for pack in backend.packs():
        backend.corrupt(pack)
    before = fingerprint(target)
    with pytest.raises(Exception, match=r"no checkpoint .* is left that is whole"):
        store.restore(target)
    assert fingerprint(target) == before
    assert os.listdir(tmp_path) == ["target"]


def test_what_a_kill_left_half_moved_in_a_mount_point_is_cleared_even_if_the_next_restore_fails(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing rather than a part: once the sign of the mixture is gone, nobody could tell it from a whole."""
    store.save(b"x" * 100_000, wait=True)
    target = tmp_path / "target"
    (target / ".waypost-unfinished-dead" / "replaced").mkdir(parents=True)
    (target / "half of the new").write_text("?")
    (target / "lost+found").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) in (str(target), os.fsencode(target)))
    backend = store._calls.backend
    assert isinstance(backend, SteppedBackend)
    for pack in backend.packs():
        backend.corrupt(pack)
    with pytest.raises(CorruptCheckpointError):
        store.restore(target)
    assert os.listdir(target) == ["lost+found"]


@pytest.mark.parametrize("first_that_fails", range(8))
def test_a_restore_into_a_mount_point_that_fails_half_way_puts_everything_back(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_that_fails: int
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) in (str(target), os.fsencode(target)))
    for version in ("one", "two"):
        (tmp_path / version / "folder").mkdir(parents=True)
        for name in ("a", "b", "folder/c"):
            (tmp_path / version / name).write_text(version)
        store.save(tmp_path / version, wait=True)
    store.restore(target, store.list()[1].sequence)
    before = fingerprint(target)
    assert before == fingerprint(tmp_path / "one")
    rename, done = os.rename, [0]

    def failing(source: str, place: str) -> None:
        done[0] += 1
        if done[0] == first_that_fails + 1:
            raise OSError(5, "Input/output error")
        rename(source, place)

    monkeypatch.setattr(os, "rename", failing)
    if first_that_fails < 7:
        with pytest.raises(StorageError, match="Input/output error"):
            store.restore(target)
        assert fingerprint(target) == before
    else:
        store.restore(target)
        assert fingerprint(target) == fingerprint(tmp_path / "two")


def test_a_full_disk_is_a_storage_error_that_names_the_disk(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(b"x" * 100_000, wait=True)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match=r"restore to file://.*No space|needs 0.1 MiB and 0.0 are free"):
        store.restore(tmp_path / "target")
    assert os.listdir(tmp_path) == []


# --- Making the source safe to change --------------------------------------------------------------------------------


def test_a_source_may_change_as_soon_as_save_returns(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "MAX_IN_MEMORY", 1000)
    for size in (10, 100_000):
        source = tmp_path / f"source-{size}"
        source.mkdir()
        (source / "file").write_bytes(b"a" * size)
        handle = store.save(source)
        (source / "file").write_bytes(b"b" * size)
        (source / "new").write_text("?")
        handle.result(10)
        store.restore(tmp_path / "restored")
        assert os.listdir(tmp_path / "restored") == ["file"]
        assert (tmp_path / "restored" / "file").read_bytes() == b"a" * size


def test_bytes_that_can_change_are_copied(store: Checkpoints) -> None:
    state = bytearray(b"before")
    handle = store.save(state)
    state[:] = b"after!"
    handle.result(10)
    assert store.read_bytes() == b"before"


def test_private_copies_are_removed(store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "MAX_IN_MEMORY", 0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (tmp_path / "file").write_text("x")
    handles = [store.save(tmp_path / "file") for _ in range(5)]
    store.flush()
    assert any(handle.done() for handle in handles)
    assert os.listdir(scratch) == []


def test_a_save_without_room_for_a_copy_blocks_and_is_saved_all_the_same(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(copying, "MAX_IN_MEMORY", 0)

    def no_room(**_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", no_room)
    (tmp_path / "file").write_text("x")
    with caplog.at_level(logging.WARNING, "waypost"):
        handle = store.save(tmp_path / "file")
    assert handle.done()
    assert handle.result().size_bytes == 1
    assert "Point TMPDIR" in caplog.text


def test_a_source_that_changes_while_it_is_read_is_never_saved_as_a_mixture(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a" * 100_000)
    content = sources.look(file)
    file.write_bytes(b"b" * 100_001)
    with pytest.raises(OSError, match="it changed while it was being saved"):
        list(content.pieces(0))
    assert store.latest() is None


@pytest.mark.parametrize("source", [None, 5, object()])
def test_what_is_neither_bytes_nor_a_path_is_refused(store: Checkpoints, source: object) -> None:
    with pytest.raises(ConfigurationError, match="give bytes, the path"):
        store.save(source)  # type: ignore[arg-type]


def test_a_source_that_does_not_exist_is_pythons_own_error(store: Checkpoints, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.save(tmp_path / "nothing")


@given(path=st.binary(max_size=30), target=st.binary(max_size=30))
def test_no_accepted_link_leaves_the_folder(path: bytes, target: bytes) -> None:
    """Lexically: a link of real folders' depth, whose `..` all lead."""
    if tree.path_problem(path) is not None or tree.link_problem(path, target) is not None:
        return
    depth = path.count(b"/")
    for name in target.split(b"/"):
        depth += {b"..": -1, b".": 0, b"": 0}.get(name, 1)
        assert depth >= 0


def test_a_kind_is_a_word_of_the_format() -> None:
    assert [str(kind) for kind in Kind] == ["file", "folder", "link"]
