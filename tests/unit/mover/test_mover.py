"""The process beside the program: it uploads what it is told to, and whatever becomes of it, the save stands."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import http.server
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cluster.waiting import wait_for
from waypost.backends.file import FileBackend
from waypost.backends.opening import open_backend
from waypost.backends.protocol import Backend
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError, StorageError
from waypost.mover import keeper
from waypost.mover.keeper import Mover
from waypost.mover.wire import Heed, Message, Stored
from waypost.store import copying, keys, sources
from waypost.store.calls import Budget, Calls
from waypost.store.keys import MIB
from waypost.store.manifest import Manifest
from waypost.store.packing import pack_content
from waypost.store.progress import moving
from waypost.store.seams import Seams
from waypost.store.sizes import Sizes
from waypost.store.urgency import Urgency

UPLOAD = (7, 3)
SIZES = Sizes(pack=2 * MIB)


@pytest.fixture
def mover() -> Iterator[Mover]:
    mover = Mover()
    yield mover
    mover.close()


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return calls_to(f"file://{tmp_path}/store")


def calls_to(uri: str, budget: Budget = Budget()) -> Calls:  # noqa: B008 - it is frozen
    return Calls(open_backend(uri), Seams(), budget)


def folder_of(tmp_path: Path, mebibytes: int = 8) -> Path:
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "large").write_bytes(os.urandom(mebibytes * MIB))
    (folder / "deep" / "small").write_bytes(b"small")
    with open(folder / "sparse", "wb") as file:
        file.truncate(3 * MIB)
    return folder


def files_of(calls: Calls, manifest: Manifest) -> dict[bytes, bytes]:
    """What the packs in the store hold, by a reader's own arithmetic."""
    packs = [calls.backend.get(keys.PACKS + pack.name, keys.MAX_PACK) for pack in manifest.packs]
    return {
        node.path: b"".join(
            bytes(chunk.length) if chunk.is_hole else packs[chunk.pack][chunk.offset : chunk.offset + chunk.length]
            for chunk in chunks
        )
        for node, chunks in zip(manifest.nodes, manifest.chunks, strict=True)
    }


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def mover_of(store: Checkpoints) -> Mover:
    assert store._writing is not None
    mover = store._writing._elsewhere
    assert isinstance(mover, Mover)
    return mover


class Watched:
    """A backend that knows what was put through it in this process."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self.put_here = backend, list[str]()

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def put(self, key: str, data: bytes | memoryview) -> None:
        self.put_here.append(key)
        self._backend.put(key, data)


# --- What it does -----------------------------------------------------------------------------------------------------
def test_packs_are_put_by_the_mover_and_the_entry_by_the_program(tmp_path: Path) -> None:
    watched = Watched(open_backend(f"file://{tmp_path}/store"))
    folder = folder_of(tmp_path)
    with Checkpoints(attempt=1, backend=watched, uploader="process") as store:  # type: ignore[arg-type]
        watched.put_here.clear()
        store.save(folder, wait=True)
        assert not [key for key in watched.put_here if key.startswith(keys.PACKS)]
        store.restore(tmp_path / "restored")
    assert subprocess.run(["diff", "-r", folder, tmp_path / "restored"], check=False).returncode == 0


def test_the_program_knows_how_far_its_mover_is(mover: Mover, calls: Calls) -> None:
    with moving("saving", "are in the store") as progress:
        mover.pack(sources.look(os.urandom(5 * MIB)), calls, UPLOAD, dataclasses.replace(SIZES, pack=2 * MIB))
    assert mover.pid is not None
    assert progress.moved == 5 * MIB


@pytest.mark.parametrize("source", ["folder", "in memory", "bytes"])
def test_it_makes_the_packs_that_the_program_would_have_made(
    mover: Mover, calls: Calls, tmp_path: Path, source: str
) -> None:
    content = sources.look(os.urandom(5 * MIB) if source == "bytes" else folder_of(tmp_path))
    if source == "in memory":
        content = copying.copy(content)
        assert content.release is None
    manifest = mover.pack(content, calls, UPLOAD, SIZES)
    assert mover.pid is not None
    assert manifest == pack_content(content, calls_to(f"file://{tmp_path}/another"), UPLOAD, SIZES)
    files = files_of(calls, manifest)
    for index, node in enumerate(content.nodes):
        here = b"".join(
            bytes(len(piece)) if isinstance(piece, sources.Hole) else piece for piece in content.pieces(index)
        )
        assert files[node.path] == here


def test_a_small_save_starts_no_process(mover: Mover, calls: Calls) -> None:
    assert mover.pack(sources.look(b"x" * (keeper.LEAST - 1)), calls, UPLOAD, SIZES).packs
    assert mover.pid is None


def test_one_process_serves_all_saves(mover: Mover, calls: Calls) -> None:
    pids = set()
    for _ in range(3):
        mover.pack(sources.look(os.urandom(2 * MIB)), calls, UPLOAD, SIZES)
        pids.add(mover.pid)
    assert len(pids) == 1


def test_a_relative_path_means_what_it_meant_to_the_program(
    mover: Mover, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover.pack(sources.look(bytes(2 * MIB)), calls, UPLOAD, SIZES)  # it runs, elsewhere
    folder_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(mover.pack(sources.look("source"), calls, UPLOAD, SIZES).nodes) == 4


# --- Errors are those of the program ----------------------------------------------------------------------------------
def in_words(text: str) -> str:
    """Without what differs each time: durations and a request's number."""
    return re.sub(r"\S*\d\S*", "N", text)


def error_here(calls: Calls, content: sources.Content) -> Exception:
    with pytest.raises(Exception) as caught:
        pack_content(content, calls, UPLOAD, SIZES)
    return caught.value


def test_a_storage_error_comes_with_all_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    mover = Mover()
    calls = calls_to("s3://bucket/store", Budget(seconds=0.3))
    content = sources.look(os.urandom(2 * MIB))
    with pytest.raises(StorageError) as caught:
        mover.pack(content, calls, UPLOAD, SIZES)
    mover.close()
    here = error_here(calls, content)
    assert isinstance(here, StorageError)
    there = caught.value
    assert (there.operation, there.uri, there.advice, there.outcome) == (
        here.operation,
        here.uri,
        here.advice,
        here.outcome,
    )
    assert in_words(there.cause) == in_words(here.cause)


def test_a_source_that_changes_is_the_same_error(mover: Mover, calls: Calls, tmp_path: Path) -> None:
    content = sources.look(folder := folder_of(tmp_path))
    (folder / "large").write_bytes(b"changed")
    with pytest.raises(OSError, match="changed while it was being saved") as caught:
        mover.pack(content, calls, UPLOAD, SIZES)
    assert caught.value.errno == errno.EBUSY
    assert str(caught.value) == str(error_here(calls, content))
    assert mover.pid is not None, "its own trouble it was not"


def test_what_the_mover_cannot_open_the_program_uploads_itself(mover: Mover, tmp_path: Path) -> None:
    class Own(FileBackend):
        @property
        def uri(self) -> str:
            return "nobody-knows://this/scheme"

    calls = Calls(Own(f"file://{tmp_path}/store"), Seams())
    assert mover.pack(sources.look(os.urandom(2 * MIB)), calls, UPLOAD, SIZES).packs
    assert mover.pid is None


# --- Its death --------------------------------------------------------------------------------------------------------
class Killer:
    """Kills the mover behind the first pack that each of its first lives has got confirmed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, mover: Mover, times: int) -> None:
        self.confirmed: list[str] = []
        killed: set[int] = set()
        receive = keeper._Process.receive

        def heard(process: keeper._Process, timeout: float) -> object:
            message = receive(process, timeout)
            if isinstance(message, Stored):
                self.confirmed.append(message.name)
                if process.pid not in killed and len(killed) < times:
                    killed.add(process.pid)
                    os.kill(process.pid, signal.SIGKILL)
            return message

        monkeypatch.setattr(keeper._Process, "receive", heard)


def test_a_killed_mover_is_replaced_and_what_the_store_has_is_not_sent_again(
    mover: Mover, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    content = sources.look(folder_of(tmp_path, 40))
    killer = Killer(monkeypatch, mover, 1)
    manifest = mover.pack(content, calls, UPLOAD, SIZES)
    assert "was killed by signal 9; the save goes on" in caplog.text
    assert sorted(killer.confirmed) == sorted({pack.name for pack in manifest.packs}), "each of them once"
    assert files_of(calls, manifest)[b"large"] == (tmp_path / "source" / "large").read_bytes()


def test_when_it_is_killed_again_the_program_does_it_and_goes_on_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_of(tmp_path, 70)
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        mover = mover_of(store)
        Killer(monkeypatch, mover, 2)
        store.save(folder, wait=True)
        assert "from now on this program uploads its saves itself" in caplog.text
        assert mover.pid is None
        store.save(folder, wait=True)
        assert mover.pid is None
        store.restore(tmp_path / "restored")
    assert subprocess.run(["diff", "-r", folder, tmp_path / "restored"], check=False).returncode == 0


def test_a_frozen_mover_is_taken_for_dead(
    mover: Mover, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "_SILENCE", 3.0)
    mover.pack(sources.look(os.urandom(2 * MIB)), calls, UPLOAD, SIZES)
    assert mover.pid is not None
    os.kill(mover.pid, signal.SIGSTOP)
    content = sources.look(folder_of(tmp_path))
    manifest = mover.pack(content, calls, (7, 4), SIZES)
    assert "has said nothing for 3 s; the save goes on" in caplog.text
    assert files_of(calls, manifest)[b"large"] == (tmp_path / "source" / "large").read_bytes()


class SlowStorage(http.server.BaseHTTPRequestHandler):
    """Takes a PUT, and thinks about it."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(5.0)
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - as the library calls it
        """Nobody reads it."""


def test_a_mover_whose_storage_is_slow_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "_SILENCE", 3.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowStorage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = {
            "ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "ACCESS_KEY_ID": "x",
            "SECRET_ACCESS_KEY": "x",
        }
        for name, value in told.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        with contextlib.closing(Mover()) as mover:
            assert mover.pack(sources.look(os.urandom(2 * MIB)), calls_to("s3://bucket/store"), UPLOAD, SIZES).packs
        server.shutdown()
    assert not caplog.text


def test_within_a_save_what_it_may_take_only_rises(
    mover: Mover, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container a process that has gone down isn't allowed up again, when the machine is taken away."""
    heeded: list[Urgency] = []
    send = keeper._Process.send

    def sent(process: keeper._Process, message: Message, descriptors: Sequence[int] = ()) -> None:
        if isinstance(message, Heed):
            heeded.append(message.urgency)
        send(process, message, descriptors)

    monkeypatch.setattr(keeper._Process, "send", sent)
    begins = Urgency.POLITE
    asked = iter([begins, Urgency.KEEN, Urgency.IDLE, Urgency.POLITE, Urgency.KEEN, Urgency.NORMAL, Urgency.IDLE])
    mover.urgency = lambda: next(asked, Urgency.IDLE)
    mover.pack(sources.look(folder_of(tmp_path, 16)), calls, UPLOAD, SIZES)
    assert heeded == [Urgency.KEEN, Urgency.NORMAL]


def test_a_mover_that_cannot_start_is_done_without(
    mover: Mover, calls: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert mover.pack(sources.look(os.urandom(2 * MIB)), calls, UPLOAD, SIZES).packs
    assert "can't be started" in caplog.text


class StoppedError(Exception):
    """What an interrupt raises."""


def test_an_upload_that_gives_way_leaves_the_line_at_once(mover: Mover, calls: Calls, tmp_path: Path) -> None:
    mover.pack(sources.look(os.urandom(2 * MIB)), calls, UPLOAD, SIZES)
    pid = mover.pid
    assert pid is not None

    def interrupt() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        mover.pack(sources.look(folder_of(tmp_path, 40)), calls.interruptible(interrupt), (7, 4), SIZES)
    assert not alive(pid)
    assert mover.pack(sources.look(os.urandom(2 * MIB)), calls, (7, 5), SIZES).packs
    assert mover.pid is not None, "the next one has a mover again"


# --- It ends with the program -----------------------------------------------------------------------------------------
PROGRAM = """
import os, sys, time
from waypost.checkpoints import Checkpoints
store = Checkpoints(sys.argv[1], attempt=1)
store.save(os.urandom(2 << 20), wait=True)
print(store._writing._elsewhere.pid, flush=True)
"""


def program(uri: str, then: str = "time.sleep(600)") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(then), uri],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


def said_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_no_mover_outlives_a_killed_program(tmp_path: Path) -> None:
    with program(f"file://{tmp_path}/store") as parent:
        mover = said_pid(parent)
        assert alive(mover)
        parent.kill()
        wait_for("the mover's end", lambda: not alive(mover), seconds=20)


def test_nor_does_it_where_a_child_forked_behind_pythons_back_holds_the_socket(tmp_path: Path) -> None:
    then = """
    import ctypes
    if (forked := ctypes.CDLL(None).fork()) != 0:
        print(forked, flush=True)
    time.sleep(600)
    """
    with program(f"file://{tmp_path}/store", then) as parent:
        mover, forked = said_pid(parent), said_pid(parent)
        parent.kill()
        wait_for("the mover's end", lambda: not alive(mover), seconds=20)
        assert alive(forked)
        os.killpg(parent.pid, signal.SIGKILL)


def test_it_ends_when_the_store_is_closed(tmp_path: Path) -> None:
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        store.save(os.urandom(2 * MIB), wait=True)
        mover = mover_of(store)
        pid = mover.pid
        assert pid is not None
        assert alive(pid)
    assert not alive(pid)


def test_signals_to_the_whole_group_leave_the_decision_to_the_program(tmp_path: Path) -> None:
    then = """
    import signal
    came = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: came.append(number))
    print("ready", flush=True)
    while len(came) < 3:
        time.sleep(0.01)
    store.save(os.urandom(2 << 20), wait=True)
    print(store._writing._elsewhere.pid, flush=True)
    """
    with program(f"file://{tmp_path}/store", then) as parent:
        mover = said_pid(parent)
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.killpg(parent.pid, number)
            time.sleep(0.1)
        assert said_pid(parent) == mover, "the same process as before"
        assert parent.wait(30) == 0


def test_a_forked_child_leaves_its_parents_mover_alone(tmp_path: Path) -> None:
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        store.save(os.urandom(2 * MIB), wait=True)
        mover = mover_of(store)
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        before = mover.pid
        store.save(os.urandom(2 * MIB), wait=True)
        assert mover.pid == before


# --- Who has one ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("argument", "variable", "beside"),
    [(None, None, True), (None, "thread", False), ("thread", None, False), ("process", "thread", True)],
)
def test_it_can_be_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str | None, variable: str | None, beside: bool
) -> None:
    if variable is not None:
        monkeypatch.setenv("WAYPOST_UPLOADER", variable)
    with Checkpoints(f"file://{tmp_path}/store", attempt=1, uploader=argument) as store:  # type: ignore[arg-type]
        assert store._writing is not None
        assert (store._writing._elsewhere is not None) == beside


def test_a_store_in_this_programs_memory_stays_here() -> None:
    with Checkpoints("memory://mover/test", attempt=1) as store:
        assert store._writing is not None
        assert store._writing._elsewhere is None


def test_an_unknown_uploader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="'process' or 'thread'"):
        Checkpoints(f"file://{tmp_path}/store", attempt=1, uploader="rocket")  # type: ignore[arg-type]
    monkeypatch.setenv("WAYPOST_UPLOADER", "yes")
    with pytest.raises(ConfigurationError, match="WAYPOST_UPLOADER=yes"):
        Checkpoints(f"file://{tmp_path}/store", attempt=1)
