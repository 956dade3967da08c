"""A source that the program gives up: it costs a rename, and is removed only when its own save stands."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.consumed import given, made, whole
from tests.unit.store.stepped import BUDGET, SteppedBackend, World, fail, lose_answer, refuse
from tests.unit.store.test_linking import Gate
from tests.unit.store.test_stop_orders import Held
from waypost import stop
from waypost.checkpoints import Checkpoints, Group
from waypost.errors import ConfigurationError, StorageError, SupersededError
from waypost.store import consuming, keys, leftovers, renaming
from waypost.store.consuming import Given
from waypost.store.sources import Content

SIZE = 200_000


@pytest.fixture(params=["renameat2", "without"])
def renames(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's own rename that replaces nothing, and where it has none."""
    if request.param == "without":
        monkeypatch.setattr(renaming, "_renameat2", None)


@pytest.fixture
def backend() -> SteppedBackend:
    return SteppedBackend()


@pytest.fixture
def store(backend: SteppedBackend) -> Iterator[Checkpoints]:
    with Checkpoints(attempt=1, backend=backend, seams=World().seams(), saving=BUDGET) as opened:
        yield opened


@pytest.fixture
def gate(backend: SteppedBackend, store: Checkpoints) -> Iterator[Gate]:
    """Opened in any case: else the store waits for it."""
    gate = Gate(backend, store)
    yield gate
    gate.open.set()


def taken(path: Path, *spared: Path) -> Content:
    return Given(path).take([os.fsencode(item) for item in spared])


def test_a_folder_is_gone_when_save_returns_and_comes_back_by_a_restore(
    renames: None, gate: Gate, store: Checkpoints, tmp_path: Path
) -> None:
    folder = made(tmp_path / "run" / "state")
    before, inode = whole(folder), os.stat(folder / "a").st_ino
    handle = store.save(folder, consume=True)
    assert not folder.exists()
    (waiting,) = given(folder.parent)
    assert os.stat(waiting / "a").st_ino == inode, "it was copied"
    made(folder, b"n")  # the next one, of the same name
    gate.open.set()
    handle.result(20)
    store.restore(tmp_path / "restored")
    assert whole(tmp_path / "restored") == before
    assert os.listdir(folder.parent) == ["state"]
    assert (folder / "a").read_bytes() == b"n" * SIZE


@pytest.mark.parametrize("wait", [True, False])
def test_a_file_can_be_given_up_too(renames: None, store: Checkpoints, tmp_path: Path, wait: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").write_bytes(b"x" * SIZE)
    store.save(tmp_path / "run" / "file", consume=True, wait=wait).result(20)
    assert os.listdir(tmp_path / "run") == []
    assert store.read_bytes() == b"x" * SIZE


def test_what_saves_next_to_it_is_saved_without_it(gate: Gate, store: Checkpoints, tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    (folder.parent / "log").write_bytes(b"log")
    store.save(folder, consume=True, step=1)
    newer = store.save(folder.parent, step=2)
    gate.open.set()
    newer.result(20)
    store.restore(tmp_path / "restored")
    assert os.listdir(tmp_path / "restored") == ["log"]


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("fault", [refuse, fail])
def test_when_its_save_fails_it_is_where_it_was_and_the_error_says_so(
    renames: None, wait: bool, fault: Any, backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    folder = made(tmp_path / "run" / "state")
    before = whole(folder)
    backend.plan("put", keys.PACKS, *[fault] * 100)
    with pytest.raises(StorageError) as caught:
        store.save(folder, consume=True, wait=wait).result(20)
    assert any(f"is where it was: {folder}" in note for note in caught.value.__notes__)
    assert os.listdir(folder.parent) == ["state"]
    assert whole(folder) == before


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_when_its_save_fails_nothing_that_stands_there_by_now_is_replaced(
    renames: None,
    kind: str,
    gate: Gate,
    backend: SteppedBackend,
    store: Checkpoints,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = made(tmp_path / "run" / "state")
    place = folder if kind == "folder" else folder / "a"
    before = whole(place)
    backend.plan("put", keys.PACKS, refuse)
    handle = store.save(place, consume=True)
    if kind == "folder":
        place.mkdir()  # also an empty one is the program's
    else:
        place.touch()
    gate.open.set()
    with caplog.at_level(logging.WARNING, "waypost"), pytest.raises(StorageError) as caught:
        handle.result(20)
    (kept,) = given(place.parent)
    assert whole(kept) == before
    assert os.listdir(place) == [] if kind == "folder" else place.read_bytes() == b""
    assert any(str(kept) in note for note in caught.value.__notes__)
    assert str(kept) in caplog.text


def test_as_long_as_its_entry_is_not_confirmed_it_stays(
    backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    """The entry stands, and nobody can tell: the network is gone before that is found out."""
    folder = made(tmp_path / "run" / "state")
    before, there = whole(folder), list[int]()

    def look(operation: str, key: str) -> None:
        if key.startswith(keys.LOG):
            there.append(sum(whole(path) == before for path in (*given(folder.parent), folder) if path.exists()))

    backend.before = look
    backend.plan("put_new", keys.LOG, lose_answer, *[fail] * 100)
    backend.plan("get", keys.LOG, *[fail] * 100)
    with pytest.raises(StorageError) as caught:
        store.save(folder, consume=True, wait=True)
    assert caught.value.outcome == "unknown"
    assert whole(folder) == before
    assert set(there) == {1}, "it was removed before its entry was confirmed"
    backend.before = lambda operation, key: None
    backend._plans.clear()
    backend.before = look
    store.save(folder, consume=True, wait=True)
    assert set(there) == {1}, "it was removed before its entry was confirmed"
    assert os.listdir(folder.parent) == []


@pytest.mark.parametrize("taken_again", [False, True])
def test_a_superseded_one_gets_its_name_back_and_one_whose_name_is_taken_stays(
    renames: None, taken_again: bool, gate: Gate, backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    folder = made(tmp_path / "run" / "state")
    before = whole(folder)
    older = store.save(folder, consume=True)
    if taken_again:
        made(folder, b"n")
    newer = store.save(b"n" * SIZE)
    with pytest.raises(SupersededError) as caught:
        older.result(20)
    place = given(folder.parent)[0] if taken_again else folder
    assert whole(place) == before
    assert any(str(place) in note for note in caught.value.__notes__)
    assert len(os.listdir(folder.parent)) == 1 + taken_again
    backend.plan("put", keys.PACKS, refuse)
    gate.open.set()
    with pytest.raises(StorageError):
        newer.result(20)
    assert whole(place) == before, "the newer one failed, and this is all there is"


def test_what_a_stop_order_drops_gets_its_name_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, held = made(tmp_path / "run" / "state"), Held(f"file://{tmp_path}/store")
    before = whole(folder)
    with Checkpoints(attempt=1, backend=held) as store:
        older = store.save(folder, consume=True)
        assert held.hangs.wait(30)
        newer = store.save(b"newer")
        monkeypatch.setattr(stop, "remaining_grace", lambda: 20.0)
        newer.result(30)
        with pytest.raises(SupersededError, match="when the stop order came"):
            older.result(0)
        assert os.listdir(folder.parent) == ["state"]
        assert whole(folder) == before
        held.through.set()


def test_what_was_still_waiting_when_the_time_is_over_gets_its_name_back(
    gate: Gate, store: Checkpoints, tmp_path: Path
) -> None:
    folder = made(tmp_path / "run" / "state")
    before = whole(folder)
    handle = store.save(folder, consume=True)
    consuming.put_all_back()  # as the interpreter's exit does, behind the grace
    assert whole(folder) == before
    gate.open.set()
    with pytest.raises(OSError, match="No such file"):
        handle.result(20)
    assert whole(folder) == before
    assert os.listdir(folder.parent) == ["state"]


def test_what_is_decided_to_stay_is_not_removed_by_a_save_that_stands_after_all(tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    content = taken(folder)
    (tmp_path / "run" / "state").mkdir()
    consuming.put_all_back()
    (kept,) = given(folder.parent)
    content.stands()
    assert (kept / "a").exists()


def test_in_a_forked_child_nothing_happens_to_it(tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    content = taken(folder)
    child = os.fork()
    if child == 0:
        try:
            consuming.put_all_back()
            content.stands()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [(path / "a").exists() for path in given(folder.parent)] == [True]
    content.fail(OSError("no"))
    assert os.listdir(folder.parent) == ["state"]


def change_a_file(place: Path) -> None:
    (place / "deep" / "b").write_bytes(b"changed")


def add_a_file(place: Path) -> None:
    (place / "deep" / "new").write_bytes(b"new")


def replace_a_file(place: Path) -> None:
    status = os.stat(place / "a")
    (place / "new").write_bytes(b"n" * SIZE)
    os.utime(place / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (place / "new").rename(place / "a")


def add_a_folder(place: Path) -> None:
    (place / "empty").mkdir()


@pytest.mark.parametrize("write", [change_a_file, add_a_file, replace_a_file, add_a_folder])
def test_what_was_written_to_after_all_is_not_removed(
    write: Callable[[Path], None], store: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a descriptor or a working folder that somebody has kept."""
    content = taken(made(tmp_path / "run" / "state"))
    (place,) = given(tmp_path / "run")
    write(place)
    before = whole(place)
    with caplog.at_level(logging.WARNING, "waypost"):
        content.stands()
    assert whole(place) == before
    assert str(place) in caplog.text


def test_another_thing_in_its_place_is_not_removed(tmp_path: Path) -> None:
    content = taken(made(tmp_path / "run" / "state"))
    (place,) = given(tmp_path / "run")
    place.rename(tmp_path / "run" / "elsewhere")
    made(place)
    content.stands()
    assert (place / "a").exists()
    assert (tmp_path / "run" / "elsewhere" / "a").exists()


@pytest.mark.parametrize("other", ["folder", "file", "link"])
def test_what_takes_its_place_just_before_the_rename_is_neither_saved_nor_removed(
    other: str, store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sizes and times, so that nothing but the inode tells."""
    folder, move = made(tmp_path / "run" / "state"), renaming.rename

    def swapped(at: int, old: bytes, new: bytes, **how: bool) -> None:
        monkeypatch.setattr(consuming, "rename", move)
        folder.rename(folder.parent / "first")
        if other == "folder":
            made(folder)
            for path in ("a", "deep/b"):
                status = os.stat(folder.parent / "first" / path)
                os.utime(folder / path, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif other == "file":
            folder.write_bytes(b"file")
        else:
            folder.symlink_to("first")
        move(at, old, new, **how)

    monkeypatch.setattr(consuming, "rename", swapped)
    with pytest.raises(OSError, match="changed while it was being saved"):
        store.save(folder, consume=True)
    assert sorted(os.listdir(folder.parent)) == ["first", "state"]
    assert (folder / "a").exists() == (other != "file")
    assert (folder.parent / "first" / "a").exists()
    assert store.latest() is None


def test_what_changes_between_the_look_and_the_rename_is_not_saved_as_it_was(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, move = made(tmp_path / "run" / "state"), renaming.rename

    def late(at: int, old: bytes, new: bytes, **how: bool) -> None:
        monkeypatch.setattr(consuming, "rename", move)
        add_a_file(folder)
        move(at, old, new, **how)

    monkeypatch.setattr(consuming, "rename", late)
    with pytest.raises(OSError, match="changed while it was being saved"):
        store.save(folder, consume=True)
    assert (folder / "deep" / "new").exists()
    assert os.listdir(folder.parent) == ["state"]


def test_what_cannot_be_given_up_is_refused_and_stays(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "run" / "state")
    before = whole(tmp_path)
    (tmp_path / "latest").symlink_to(folder)
    for source, why in (
        (b"bytes", "path of a file or folder"),
        ({"state": 1}, "path of a file or folder"),
        ("/", "end in a name"),
        (folder / "..", "end in a name"),
        (f"{folder}/.", "end in a name"),
        (tmp_path / "latest", "symbolic link"),
        (f"{tmp_path}/latest/", "symbolic link"),
        ("/proc", "mount point"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            store.save(source, consume=True)
    (tmp_path / "latest").unlink()
    monkeypatch.chdir(folder / "deep")
    for source in (folder, folder / "deep", "../../state", tmp_path / "run"):
        with pytest.raises(ConfigurationError, match="in use"):
            store.save(source, consume=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "deep"))
    with pytest.raises(ConfigurationError, match="in use"):
        store.save(folder, consume=True)
    with pytest.raises(FileNotFoundError):
        store.save(folder / "none", consume=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="neither a file nor a folder"):
        store.save(tmp_path / "pipe", consume=True)
    (tmp_path / "pipe").unlink()
    assert whole(tmp_path) == before
    assert not consuming._under_way


def test_a_store_does_not_give_up_itself(tmp_path: Path) -> None:
    with Checkpoints(f"file://{tmp_path}/run/store", attempt=1) as store:
        with pytest.raises(ConfigurationError, match="in use"):
            store.save(tmp_path / "run", consume=True)
        store.save(made(tmp_path / "run" / "state"), consume=True, wait=True)
    assert os.listdir(tmp_path / "run") == ["store"]


def test_dots_behind_a_link_lead_where_the_system_leads_them(store: Checkpoints, tmp_path: Path) -> None:
    """`link/../state` is beside what the link leads to, not beside the link."""
    there, here = made(tmp_path / "far" / "state", b"t"), made(tmp_path / "state", b"h")
    (tmp_path / "far" / "deep").mkdir()
    (tmp_path / "link").symlink_to("far/deep")
    store.save(tmp_path / "link" / ".." / "state", consume=True, wait=True)
    assert not there.exists()
    assert (here / "a").read_bytes() == b"h" * SIZE
    store.restore(tmp_path / "restored")
    assert (tmp_path / "restored" / "a").read_bytes() == b"t" * SIZE


@pytest.mark.parametrize("name", [".waypost-given-1-1", ".waypost-snapshot-x"])
def test_a_folder_that_holds_one_of_another_save_is_refused(name: str, store: Checkpoints, tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    (folder / "deep" / name).mkdir()
    (folder / "deep" / name / "theirs").write_bytes(b"x")
    before = whole(tmp_path)
    with pytest.raises(ConfigurationError, match="of another save"):
        store.save(folder, consume=True)
    assert whole(tmp_path) == before
    assert os.listdir(folder.parent) == ["state"]


def test_where_it_cannot_be_renamed_the_error_says_why_and_it_stays(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "run" / "state")

    def no(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(consuming, "rename", no)
    with pytest.raises(PermissionError):
        store.save(folder, consume=True)
    assert os.listdir(folder.parent) == ["state"]


def test_where_no_name_can_be_had_it_is_not_tried_for_ever(
    store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without renameat2 that doesn't rename over an empty folder either."""
    folder = made(tmp_path / "run" / "state")

    def no(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    monkeypatch.setattr(renaming, "_renameat2", None)
    monkeypatch.setattr(os, "rename", no)
    with pytest.raises(FileExistsError):
        store.save(folder, consume=True)
    assert os.listdir(folder.parent) == ["state"]


def test_several_ranks_give_nothing_up(tmp_path: Path) -> None:
    folder = made(tmp_path / "run" / "state")
    with (
        Checkpoints(attempt=1, backend=SteppedBackend(), group=Group(rank=0, size=2, token="t")) as store,
        pytest.raises(ConfigurationError, match="several ranks"),
    ):
        store.save(folder, consume=True)
    assert os.listdir(folder.parent) == ["state"]


def test_what_a_killed_program_had_given_up_is_named_once_and_never_removed(
    store: Checkpoints, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = made(tmp_path / "run" / f".waypost-given-{os.getpid()}-{next(leftovers._numbers) + 2}")
    before = whole(left)
    with caplog.at_level(logging.WARNING, "waypost"):
        for turn in range(5):
            store.save(made(tmp_path / "run" / f"state-{turn}"), consume=True, wait=True)
    assert caplog.text.count(str(left)) == 1
    assert whole(left) == before
    caplog.clear()
    leftovers.told.clear()
    with caplog.at_level(logging.WARNING, "waypost"):
        store.restore(tmp_path / "run" / "restored")
    assert caplog.text.count(str(left)) == 1
    assert whole(left) == before


@pytest.mark.parametrize("inside", [False, True])
def test_a_restore_over_the_folder_it_was_in_keeps_it(
    inside: bool, store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "run" / "work"
    store.save(made(tmp_path / "state"), consume=True, wait=True)
    store.restore(work)
    if inside:
        monkeypatch.setattr(os.path, "ismount", lambda path: os.fsdecode(path) == str(work))
    left = made(work / ".waypost-given-1-1", b"1"), made(work / "deep" / ".waypost-given-1-2", b"2")
    before = sorted(whole(path).items() for path in left)
    store.restore(work)
    places = [*given(work), *given(work.parent)]
    assert sorted(whole(path).items() for path in places) == before
    assert (work / "a").exists()


def test_a_restore_over_the_folder_of_a_save_under_way_keeps_what_that_was_given(
    backend: SteppedBackend, store: Checkpoints, tmp_path: Path
) -> None:
    work = tmp_path / "run" / "work"
    store.save(made(tmp_path / "state"), consume=True, wait=True)
    store.restore(work)
    gate, folder = Gate(backend, store), made(work / "deep" / "state", b"n")
    before = whole(folder)
    handle = store.save(folder, consume=True)
    store.restore(work)
    gate.open.set()
    with pytest.raises(OSError, match="No such file"):
        handle.result(20)
    assert [whole(path) for path in given(work.parent)] == [before]
