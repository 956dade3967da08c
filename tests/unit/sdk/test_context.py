"""Flyte's checkpoint API, behaviour by behaviour, on a real file:// store: kept where programs rely on it, mended where
it lost work. What Flyte does is in the name or the docstring where ours differs."""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from waypost import Checkpoints, ConfigurationError, CorruptCheckpointError, StorageError, current_context
from waypost.context import BYTES_NAME, STAGING_PREFIX, Checkpoint
from waypost.flyte import SyncCheckpoint


@contextlib.contextmanager
def opened(uri: str, number: int) -> Iterator[Checkpoint]:
    """One attempt's checkpoint, as current_context() makes it."""
    with Checkpoints(uri, attempt=number) as store:
        yield Checkpoint(store, store)


@pytest.fixture
def first(store: str) -> Iterator[Checkpoint]:
    """The first attempt of a task."""
    with opened(store, 1) as checkpoint:
        yield checkpoint


def folder(path: Path, **files: str) -> Path:
    """A folder with files; `__` in a name stands for a subfolder."""
    for name, text in files.items():
        file = path / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def content(path: Path) -> dict[str, str]:
    """The files below a folder, by their relative names."""
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


# --- Nothing saved yet -------------------------------------------------------------------------------------------
def test_nothing_saved_yet_reads_as_none_and_does_not_exist(first: Checkpoint, tmp_path: Path) -> None:
    """Flyte says that it exists, and read() raises FlyteDataNotFoundException, which ends the task for good."""
    assert first.prev_exists() is False
    assert first.read() is None
    assert first.restore() is None
    assert first.restore(tmp_path) is None


def test_with_nothing_saved_the_path_is_not_even_looked_at(first: Checkpoint) -> None:
    assert first.restore("/nonexistent") is None


def test_an_attempt_that_died_before_its_first_save_loses_nothing(store: str) -> None:
    """Flyte looks at attempt N-1 only."""
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"42")
    with opened(store, 2):
        pass
    with opened(store, 3) as checkpoint:
        assert checkpoint.prev_exists()
        assert checkpoint.read() == b"42"


# --- write and read ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("data", [b"", b"7", bytes(range(256)) * 1024], ids=["empty", "one", "256 KiB"])
def test_what_was_written_is_read_by_the_next_attempt(store: str, data: bytes) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.write(data)
    with opened(store, 2) as checkpoint:
        assert checkpoint.read() == data


def test_any_kind_of_bytes_is_written_and_text_is_not(store: str) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.write(bytearray(b"abc"))
        checkpoint.write(memoryview(b"abcdef")[::2])
        with pytest.raises(TypeError, match="write\\(\\) takes bytes, not str"):
            checkpoint.write("text")  # type: ignore[arg-type]  # the point of the test
    with opened(store, 2) as checkpoint:
        assert checkpoint.read() == b"ace"


def test_what_is_read_stays_what_the_attempt_resumed_from(store: str, tmp_path: Path) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"old")
        assert not checkpoint.prev_exists()
        assert checkpoint.read() is None
    with opened(store, 2) as checkpoint:
        checkpoint.write(b"new")
        assert checkpoint.read() == b"old"
        restored = checkpoint.restore()
        assert restored is not None
        assert content(restored) == {BYTES_NAME: "old"}
    with opened(store, 3) as checkpoint:
        assert checkpoint.read() == b"new"


def test_a_single_saved_file_can_be_read(store: str, tmp_path: Path) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.save(folder(tmp_path / "out", state="here") / "state")
    with opened(store, 2) as checkpoint:
        assert checkpoint.read() == b"here"


def test_several_files_cannot_be_read_as_one(store: str, tmp_path: Path) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.save(folder(tmp_path / "out", a="1", b="2"))
    with opened(store, 2) as checkpoint, pytest.raises(ValueError, match="2"):
        checkpoint.read()


# --- save and restore --------------------------------------------------------------------------------------------
def test_a_folder_comes_back_with_its_content(store: str, tmp_path: Path) -> None:
    out = folder(tmp_path / "out", model="m", sub__state="s")
    with opened(store, 1) as checkpoint:
        checkpoint.save(out)
    with opened(store, 2) as checkpoint:
        restored = checkpoint.restore()
        assert restored is not None
        assert content(restored) == {"model": "m", "sub/state": "s"}


def test_a_file_comes_back_under_its_name(store: str, tmp_path: Path) -> None:
    out = folder(tmp_path / "out", **{"model.bin": "m"})
    with opened(store, 1) as checkpoint:
        checkpoint.save(str(out / "model.bin"))
    with opened(store, 2) as checkpoint:
        restored = checkpoint.restore()
        assert restored is not None
        assert content(restored) == {"model.bin": "m"}


def test_a_reader_is_saved_from_where_it_stands(store: str) -> None:
    reader = io.BytesIO(b"skipped and kept")
    reader.seek(12)
    with opened(store, 1) as checkpoint:
        checkpoint.save(reader)
    with opened(store, 2) as checkpoint:
        assert checkpoint.read() == b"kept"
        restored = checkpoint.restore()
        assert restored is not None
        assert content(restored) == {BYTES_NAME: "kept"}


def test_each_save_is_a_whole_new_checkpoint(store: str, tmp_path: Path) -> None:
    """Flyte adds to what is there: a file removed between two saves comes back, write() and save() get mixed."""
    out = folder(tmp_path / "out", a="1", b="1")
    with opened(store, 1) as checkpoint:
        checkpoint.save(out)
        (out / "b").unlink()
        folder(out, a="2")
        checkpoint.save(out)
    with opened(store, 2) as checkpoint:
        restored = checkpoint.restore()
        assert restored is not None
        assert content(restored) == {"a": "2"}
        checkpoint.write(b"now bytes")
    with opened(store, 3) as checkpoint:
        assert checkpoint.read() == b"now bytes"


def test_a_missing_path_is_the_programs_error(first: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"can't save .*nowhere"):
        first.save(tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", [b"bytes", 7, None, ["path"]])
def test_only_a_path_or_a_reader_is_saved(first: Checkpoint, wrong: object) -> None:
    with pytest.raises(ValueError, match="Only a valid path or IOBase type \\(reader\\) should be provided, received"):
        first.save(wrong)  # type: ignore[arg-type]  # the point of the test


def test_a_reader_of_text_is_a_type_error(first: Checkpoint) -> None:
    with pytest.raises(TypeError, match="reader of bytes"):
        first.save(io.StringIO("text"))


def test_a_folder_to_restore_into_has_to_exist(store: str, tmp_path: Path) -> None:
    file = folder(tmp_path / "out", file="x") / "file"
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"1")
    with opened(store, 2) as checkpoint:
        for path in (tmp_path / "nowhere", file):
            with pytest.raises(ValueError, match="Checkpoints can be restored to a directory only\\."):
                checkpoint.restore(path)
        assert not (tmp_path / "nowhere").exists()


def test_restoring_into_a_folder_leaves_its_other_files_alone(store: str, tmp_path: Path) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.save(folder(tmp_path / "out", a="saved", sub__b="saved"))
    target = folder(tmp_path / "work", a="older", mine="mine", sub__mine="mine")
    with opened(store, 2) as checkpoint:
        assert checkpoint.restore(str(target)) == target
        assert content(target) == {"a": "saved", "mine": "mine", "sub/b": "saved", "sub/mine": "mine"}
        assert [path.name for path in target.iterdir() if path.name.startswith(".")] == []


def test_what_a_killed_restore_left_behind_is_cleared_away(store: str, tmp_path: Path) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"1")
    target = folder(tmp_path / "work", **{f"{STAGING_PREFIX}old__half": "x"})
    with opened(store, 2) as checkpoint:
        checkpoint.restore(target)
    assert content(target) == {BYTES_NAME: "1"}


def test_a_second_restore_goes_where_it_is_told(store: str, tmp_path: Path) -> None:
    """Flyte gives the first path again, whatever it is asked."""
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"1")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with opened(store, 2) as checkpoint:
        assert checkpoint.restore(tmp_path / "a") == tmp_path / "a"
        assert checkpoint.restore(tmp_path / "b") == tmp_path / "b"
        assert content(tmp_path / "b") == {BYTES_NAME: "1"}
        assert checkpoint.restore() == checkpoint.restore()


def test_reading_looks_at_the_checkpoint_not_at_the_folder_it_was_restored_to(store: str, tmp_path: Path) -> None:
    """Flyte's read() fails when the program's own files are in that folder."""
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"1")
    target = folder(tmp_path / "work", mine="mine")
    with opened(store, 2) as checkpoint:
        checkpoint.restore(target)
        assert checkpoint.read() == b"1"


def test_a_restored_folder_outlives_the_object_that_restored_it(store: str) -> None:
    """Flyte removes it with the object."""
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"1")
    with opened(store, 2) as second:
        restored = second.restore()
    del second
    gc.collect()
    assert restored is not None
    assert content(restored) == {BYTES_NAME: "1"}


# --- Errors are errors -------------------------------------------------------------------------------------------
def test_a_damaged_store_is_neither_no_checkpoint_nor_a_wrong_one(store: str, tmp_path: Path) -> None:
    with opened(store, 1) as checkpoint:
        checkpoint.write(b"x" * 200_000)
    for pack in (tmp_path / "store" / "packs").iterdir():
        pack.chmod(0o644)
        pack.write_bytes(b"y" * 200_000)
    with opened(store, 2) as checkpoint, pytest.raises(CorruptCheckpointError):
        checkpoint.read()


def test_outside_a_run_there_is_no_context() -> None:
    with pytest.raises(ConfigurationError, match="WAYPOST_CHECKPOINT_DST is not set"):
        current_context()


# --- SyncCheckpoint: two stores named by hand --------------------------------------------------------------------
def test_sync_checkpoint_resumes_from_one_store_and_saves_to_another(tmp_path: Path) -> None:
    old, new = (tmp_path / "old").as_uri(), (tmp_path / "new").as_uri()
    SyncCheckpoint(old).write(b"from the old run")
    checkpoint = SyncCheckpoint(new, old)
    assert checkpoint.prev_exists()
    assert checkpoint.read() == b"from the old run"
    checkpoint.write(b"to the new one")
    assert checkpoint.read() == b"from the old run"
    assert SyncCheckpoint((tmp_path / "third").as_uri(), new).read() == b"to the new one"


def test_two_sync_checkpoints_of_one_process_on_one_store_do_not_cut_each_other_off(store: str) -> None:
    first, second = SyncCheckpoint(store), SyncCheckpoint(store)
    first.write(b"1")
    second.write(b"2")
    first.write(b"3")
    assert SyncCheckpoint(store + "-other", store).read() == b"3"


@pytest.mark.parametrize("source", [None, ""])
def test_sync_checkpoint_without_a_source_has_no_previous_checkpoint(store: str, source: str | None) -> None:
    SyncCheckpoint(store).write(b"1")
    checkpoint = SyncCheckpoint(store, source)
    assert not checkpoint.prev_exists()
    assert checkpoint.read() is None


def test_sync_checkpoint_on_an_empty_source_has_no_previous_checkpoint(tmp_path: Path) -> None:
    """Flyte says that there is one, and fails reading it."""
    checkpoint = SyncCheckpoint((tmp_path / "new").as_uri(), (tmp_path / "empty").as_uri())
    assert not checkpoint.prev_exists()
    assert checkpoint.read() is None


def test_sync_checkpoint_on_an_unreachable_source_raises() -> None:
    with pytest.raises((StorageError, ConfigurationError)):
        SyncCheckpoint("nosuchscheme://x", "nosuchscheme://y")
