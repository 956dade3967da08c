"""The folder as a store: a key appears whole or not at all, and trouble is named in the system's words."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from waypost.backends.file import FileBackend
from waypost.backends.protocol import (
    AbsentError,
    BackendError,
    ExistsError,
    NotNowError,
    RefusedError,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)
from waypost.checkpoints import Checkpoints
from waypost.errors import StorageError

DEAD, ALIVE = "0" * 32, "1" * 32
"""Names as unfinished files have them."""


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    return FileBackend(f"file://{tmp_path}/store")


def test_a_key_appears_only_with_its_content(
    backend: FileBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    link = os.link

    def watched(source: bytes, path: bytes) -> None:
        assert not os.path.exists(path)
        seen.append(Path(os.fsdecode(source)).read_bytes())
        link(source, path)

    monkeypatch.setattr(os, "link", watched)
    backend.put_new("log/a", b"content")
    assert seen == [b"content"]
    assert backend.get("log/a", 100) == b"content"


def test_content_and_name_are_synced_before_a_write_is_confirmed(
    backend: FileBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def watched_fsync(descriptor: int) -> None:
        steps.append("sync " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))[:5])
        fsync(descriptor)

    def watched_link(source: bytes, path: bytes) -> None:
        steps.append("link")
        link(source, path)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "link", watched_link)
    backend.put_new("log/a", b"content")
    at = steps.index("link")
    assert "sync store" in steps[:at], "the new folder's name is synced too"
    assert steps[at + 1 :] == ["sync log"]
    assert len([step for step in steps[:at] if step not in ("sync store", "sync .tmp")]) >= 1, "the content"


def test_put_new_never_overwrites_and_put_does(backend: FileBackend) -> None:
    backend.put_new("log/a", b"first")
    with pytest.raises(ExistsError):
        backend.put_new("log/a", b"second")
    assert backend.get("log/a", 100) == b"first"
    backend.put("log/a", memoryview(b"third"))
    assert backend.get("log/a", 100) == b"third"


def test_temporary_files_never_list_and_never_stay(backend: FileBackend, tmp_path: Path) -> None:
    for number in range(3):
        backend.put_new(f"log/{number}", b"x")
    with pytest.raises(ExistsError):
        backend.put_new("log/0", b"x")
    assert backend.list("log/") == ["log/0", "log/1", "log/2"]
    assert os.listdir(tmp_path / "store" / ".tmp") == []


def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_holds_is_not(
    backend: FileBackend, tmp_path: Path
) -> None:
    scratch = tmp_path / "store" / ".tmp"
    scratch.mkdir(parents=True)
    (scratch / DEAD).write_bytes(b"half")
    (scratch / ALIVE).write_bytes(b"half")
    with open(scratch / ALIVE, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        backend.put_new("log/a", b"x")
        assert os.listdir(scratch) == [ALIVE]


def test_listing_is_in_byte_order_goes_on_and_looks_into_one_folder_only(backend: FileBackend) -> None:
    for key in ("log/b", "log/a", "log/c", "log/sub/d", "logs/e"):
        backend.put_new(key, b"x")
    assert backend.list("log/") == ["log/a", "log/b", "log/c"]
    assert backend.list("log/", start_after="log/a", limit=1) == ["log/b"]
    assert backend.list("log/", start_after="log/c") == []
    assert backend.list("nothing/") == []


def test_strangers_names_in_any_encoding_do_not_stop_a_listing(backend: FileBackend, tmp_path: Path) -> None:
    backend.put_new("log/a", b"x")
    Path(os.fsdecode(os.fsencode(tmp_path / "store" / "log") + b"/\xff\xfe")).write_text("?")
    assert backend.list("log/") == ["log/a"]
    assert backend.list("log/", start_after="log/a") == []


def part(backend: FileBackend, key: str, start: int, length: int) -> bytes:
    """A range of an object, put together."""
    data = bytearray()
    backend.read_range(key, start, length, data.extend)
    return bytes(data)


def test_reading_is_bounded_and_absence_is_absence(backend: FileBackend) -> None:
    backend.put("packs/p", b"0123456789")
    assert part(backend, "packs/p", 2, 3) == b"234"
    assert part(backend, "packs/p", 8, 30) == b"89"
    assert part(backend, "packs/p", 50, 3) == b""
    with pytest.raises(TooLargeError):
        backend.get("packs/p", 9)
    with pytest.raises(AbsentError):
        backend.get("packs/q", 9)
    with pytest.raises(AbsentError):
        part(backend, "packs/q", 0, 1)
    backend.delete("packs/p")
    backend.delete("packs/p")
    with pytest.raises(AbsentError):
        backend.get("packs/p", 9)


def broken(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)


@pytest.mark.parametrize(
    ("number", "kind", "advice"),
    [
        (errno.ENOSPC, NotNowError, "Free space"),
        (errno.EDQUOT, NotNowError, "quota"),
        (errno.EROFS, RefusedError, "read-only"),
        (errno.EACCES, RefusedError, "Check who owns"),
    ],
)
def test_a_full_or_forbidden_disk_is_refused_with_what_to_do(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[BackendError], advice: str
) -> None:
    broken(monkeypatch, "write", number)
    with pytest.raises(kind, match="Errno") as caught:
        backend.put_new("log/a", b"x")
    assert advice in caught.value.advice
    with pytest.raises(AbsentError):
        backend.get("log/a", 10)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_nobody_says_that_nothing_was_written_once_the_key_exists(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    backend.put_new("log/first", b"x")
    link = os.link

    def link_and_break(*arguments: Any) -> None:
        link(*arguments)
        broken(monkeypatch, "fsync", number)
        broken(monkeypatch, "unlink", number)

    monkeypatch.setattr(os, "link", link_and_break)
    with pytest.raises(UnreachableError) as caught:
        backend.put_new("log/a", b"x")
    assert type(caught.value) is UnreachableError
    monkeypatch.undo()
    assert backend.get("log/a", 10) == b"x"


def test_a_name_that_could_not_be_synced_is_shown_to_nobody_until_it_is(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the look behind an answer that got lost would confirm a save that the next power cut takes away."""
    backend.put_new("log/first", b"x")
    link = os.link

    def link_and_break(*arguments: Any) -> None:
        link(*arguments)
        broken(monkeypatch, "fsync", errno.EIO)

    monkeypatch.setattr(os, "link", link_and_break)
    with pytest.raises(UnreachableError, match="Input/output error"):
        backend.put_new("log/a", b"x")
    for _ in range(2):
        with pytest.raises(UnreachableError, match="Input/output error"):
            backend.get("log/a", 10)
    monkeypatch.undo()
    assert backend.get("log/a", 10) == b"x"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_trouble_of_a_network_disk_may_pass(backend: FileBackend, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    broken(monkeypatch, "fsync", number)
    with pytest.raises(UnreachableError):
        backend.put_new("log/a", b"x")


def test_a_disk_without_hard_links_is_unsupported(backend: FileBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "link", errno.EPERM)
    with pytest.raises(UnsupportedError, match="no hard links"):
        backend.put_new("log/a", b"x")


def test_a_path_that_leads_through_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=f"file://{tmp_path}/file/store.*Not a directory"):
        Checkpoints(f"file://{tmp_path}/file/store", attempt=1)


def test_an_unwritable_path_is_named_with_what_to_do() -> None:
    """As another user than root, for whom nothing is unwritable; imports come first, as root's home is closed."""
    program = """
        import os, waypost, waypost.checkpoints, waypost.backends.file
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            waypost.Checkpoints("file:///no-place-of-mine/store", attempt=1)
        except waypost.StorageError as error:
            print(error.exit_code, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.startswith("74 can't "), done.stdout + done.stderr
    assert "file:///no-place-of-mine/store: [Errno 13] Permission denied" in done.stdout
    assert "Check who owns the folder" in done.stdout


def test_a_plain_path_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Checkpoints("store", attempt=1) as store:
        assert store.uri == f"file://{tmp_path}/store"


def test_a_file_that_a_sweep_takes_before_it_is_locked_is_made_again(
    backend: FileBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.put_new("log/0", b"sweeps for leftovers once, at the first write")
    swept: list[str] = []
    real_open = os.open

    def open_and_be_swept(path: Any, flags: int, *more: Any, **named: Any) -> int:
        descriptor = real_open(path, flags, *more, **named)
        if flags & os.O_EXCL and not swept:
            swept.append(os.fsdecode(path))
            FileBackend(backend.uri).put_new("log/by-another-process", b"sweeps, too")
        return descriptor

    monkeypatch.setattr(os, "open", open_and_be_swept)
    backend.put_new("log/1", b"content")
    [taken] = swept
    assert not os.path.exists(taken)
    assert backend.get("log/1", 100) == b"content"
    assert os.listdir(tmp_path / "store" / ".tmp") == []
