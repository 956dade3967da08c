"""Packs that are sent right from the files where they stand: whole, checked, and nothing behind what is given up."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awscrt.checksums import crc64nvme

from tests.unit.store.put_server import PutServer, Request, put_server
from tests.unit.store.stepped import SteppedBackend
from waypost.backends import connections, direct
from waypost.backends.checksums import Known
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import FilePart, Part, SilentError, ThrottledError, UnreachableError, UnsupportedError
from waypost.errors import StorageError
from waypost.store import keys
from waypost.store.calls import Budget, Calls
from waypost.store.keys import MIB
from waypost.store.packing import pack_content
from waypost.store.seams import Seams
from waypost.store.sending import Flight
from waypost.store.sizes import Sizes
from waypost.store.sources import Content, SharedMemory, look
from waypost.store.tree import Kind, Node

UPLOAD = (1, 1)
KEY = "packs/one+two"
PATH = "/bucket/a%20store/packs/one%2Btwo"


class Loose:
    """A cord that nobody cuts."""

    def hold(self, hang_up: object) -> None:
        pass

    def let_go(self) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PutServer]:
    with put_server(monkeypatch) as server:
        yield server


@pytest.fixture
def backend(server: PutServer) -> Iterator[ObjectStoreBackend]:
    backend = ObjectStoreBackend("s3://bucket/a store")
    backend._checks = Known()
    yield backend
    backend.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MIB))
    descriptor = os.open(path, os.O_RDONLY)
    yield path, descriptor
    os.close(descriptor)


def part_of(file: tuple[Path, int], at: int, length: int) -> FilePart:
    return FilePart(file[1], at, length, os.fsencode(file[0]))


def put(backend: ObjectStoreBackend, *parts: Part, content: bytes) -> None:
    backend.put_parts(KEY, parts, crc64nvme(content), Loose())


def test_parts_arrive_as_one_object_and_the_connection_is_used_again(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    content = file[0].read_bytes()
    whole = content[5 : MIB + 5] + b"from memory" + content[2 * MIB :]
    parts: list[Part] = [part_of(file, 5, MIB), memoryview(b"from memory"), part_of(file, 2 * MIB, MIB)]
    for _ in range(3):
        put(backend, *parts, content=whole)
    assert server.objects == {PATH: whole}
    assert server.connections == 1
    head = server.requests[0].headers
    assert head["content-length"] == str(len(whole))
    assert head["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "x-amz-checksum-crc64nvme" in head["authorization"], "the checksum is signed"


def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    def answers_and_hangs_up(request: Request) -> None:
        server.take(request)
        raise ConnectionAbortedError

    server.acts = [answers_and_hangs_up]
    for _ in range(2):
        put(backend, part_of(file, 0, MIB), content=file[0].read_bytes()[:MIB])
        time.sleep(0.05)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("503 Slow Down", "SlowDown", ThrottledError),
        ("500 Oh", "InternalError", UnreachableError),
        ("400 Bad Request", "BadDigest", UnreachableError),
        ("403 Forbidden", "AccessDenied", UnsupportedError),
        ("501 Not Implemented", "NotImplemented", UnsupportedError),
    ],
)
def test_what_an_answer_means(
    backend: ObjectStoreBackend,
    server: PutServer,
    file: tuple[Path, int],
    status: str,
    code: str,
    expected: type[Exception],
) -> None:
    server.acts = [lambda request: request.fails(status, code)]
    with pytest.raises(expected, match=code):
        put(backend, part_of(file, 0, MIB), content=file[0].read_bytes()[:MIB])


def test_a_refusal_that_comes_before_the_body_is_over_is_heard(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    def refuses_at_once(request: Request) -> None:
        request.says("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>")
        request.read()

    server.acts = [refuses_at_once]
    with pytest.raises(UnsupportedError, match="AccessDenied"):
        put(backend, part_of(file, 0, 3 * MIB), content=file[0].read_bytes())


def test_it_is_not_tried_for_ever_where_it_is_refused(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    server.acts = [lambda request: request.fails("403 Forbidden", "AccessDenied")] * 3
    for _ in range(3):
        assert backend.takes_parts()
        with pytest.raises(UnsupportedError):
            put(backend, part_of(file, 0, 9), content=file[0].read_bytes()[:9])
    assert not backend.takes_parts()


def test_a_body_that_is_refused_because_its_file_changed_says_so(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    before = file[0].read_bytes()
    with file[0].open("r+b") as writing:
        writing.write(b"changed")
    with pytest.raises(OSError, match="changed while it was being sent") as caught:
        put(backend, part_of(file, 0, MIB), content=before[:MIB])
    assert caught.value.errno == errno.EBUSY
    assert server.objects == {}


def test_a_file_that_became_shorter_says_so(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    before = file[0].read_bytes()
    os.truncate(file[0], MIB)
    with pytest.raises(OSError, match="changed while it was being sent"):
        put(backend, part_of(file, 0, 3 * MIB), content=before)
    assert server.objects == {}


def test_what_sendfile_cannot_read_is_left_to_obstore(backend: ObjectStoreBackend, server: PutServer) -> None:
    reading, writing = os.pipe()
    with pytest.raises(UnsupportedError, match="sendfile"):
        backend.put_parts(KEY, [FilePart(reading, 0, 10, b"pipe")], 0, Loose())
    os.close(reading)
    os.close(writing)


def test_nobody_there_is_a_place_that_cannot_be_reached(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    assert backend.takes_parts()
    server.close()
    with pytest.raises(UnreachableError, match="refused"):
        put(backend, part_of(file, 0, 9), content=file[0].read_bytes()[:9])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "https://127.0.0.1:1"),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("http_proxy", "http://127.0.0.1:1"),
        ("AWS_SERVER_SIDE_ENCRYPTION", "AES256"),
        ("AWS_SSE_KMS_KEY_ID", "key"),
        ("AWS_REQUEST_PAYER", "true"),
        ("WAYPOST_SEND", "obstore"),
    ],
)
def test_where_it_is_not_done(server: PutServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    backend = ObjectStoreBackend("s3://bucket/store")
    backend._checks = Known()
    assert not backend.takes_parts()


def test_it_is_not_done_where_nobody_would_check(server: PutServer) -> None:
    backend = ObjectStoreBackend("s3://bucket/store")
    assert not backend.takes_parts()
    with pytest.raises(UnsupportedError):
        backend.put_parts(KEY, [], 0, Loose())


@pytest.mark.parametrize("size", [MIB, 64 * MIB], ids=["all within the sockets", "more than they hold"])
def test_a_try_that_was_given_up_leaves_no_object_of_what_stands_there_later(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, size: int
) -> None:
    """What sendfile has sent are the file's own pages, and on one machine they wait in the server's socket, too."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    reads_on, ended = threading.Event(), threading.Event()
    stalled = threading.Event()

    def stalls(request: Request) -> None:
        stalled.set()
        reads_on.wait(20)
        try:
            server.take(request)
        finally:
            ended.set()

    def interrupt() -> None:
        if stalled.is_set() and time.monotonic() - began > 0.5:
            raise KeyboardInterrupt

    server.acts = [stalls]
    calls, began = calls_to(backend).interruptible(interrupt), time.monotonic()
    with path.open("r+b") as file:
        part = FilePart(file.fileno(), 0, size, os.fsencode(path))
        with pytest.raises(KeyboardInterrupt):
            calls.put_parts("write", KEY, [part], crc64nvme(path.read_bytes()))
        sent = server.requests[0]
        os.pwrite(file.fileno(), bytes(size), 0)
        reads_on.set()
        assert ended.wait(20)
    assert server.objects == {}
    assert size == MIB or sent.length, "the rest never left"


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "a forked child holds the socket"])
def test_what_was_not_sent_when_a_try_was_given_up_never_is(
    backend: ObjectStoreBackend, server: PutServer, forked: bool
) -> None:
    """A server that reads slowly: most of the body waits in the sender's socket, as the pages of the file."""
    size, child = 3 * MIB, 0
    server.hold_little()
    reads_on, arrived = threading.Event(), bytearray()
    stalled, ended = threading.Event(), threading.Event()

    def stalls(request: Request) -> None:
        stalled.set()
        reads_on.wait(20)
        arrived.extend(request.read())
        ended.set()

    def interrupt() -> None:
        nonlocal child
        if stalled.is_set() and time.monotonic() - began > 0.5:
            if forked and not child:
                child = os.fork()
                if not child:
                    time.sleep(10)
                    os._exit(0)
            raise KeyboardInterrupt

    server.acts = [stalls]
    descriptor = os.memfd_create("state")
    os.pwrite(descriptor, b"A" * size, 0)
    calls, began = calls_to(backend).interruptible(interrupt), time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            calls.put_parts("write", KEY, [FilePart(descriptor, 0, size, b"state")], 0)
        os.pwrite(descriptor, b"B" * size, 0)
        reads_on.set()
        assert ended.wait(20)
    finally:
        os.close(descriptor)
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert len(arrived) < size // 2


def test_a_line_that_fails_outside_of_the_body_may_come_back(
    backend: ObjectStoreBackend, file: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(connections.Connection, "endheaders", fails)
    with pytest.raises(UnreachableError):
        put(backend, part_of(file, 0, 9), content=file[0].read_bytes()[:9])


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 503 x\r\nContent-Length: 50\r\n\r\n<Error>"], ids=["none", "half"])
def test_an_answer_that_does_not_come_is_silence_and_nothing_is_sent_twice(
    backend: ObjectStoreBackend,
    server: PutServer,
    file: tuple[Path, int],
    monkeypatch: pytest.MonkeyPatch,
    words: bytes,
) -> None:
    def falls_silent(request: Request) -> None:
        request.read()
        request.client.sendall(words)
        request.client.recv(1)

    monkeypatch.setattr(direct, "SILENT_SECONDS", 0.3)
    content = file[0].read_bytes()[:MIB]
    put(backend, part_of(file, 0, MIB), content=content)
    server.acts = [falls_silent]
    with pytest.raises(SilentError):
        put(backend, part_of(file, 0, MIB), content=content)
    assert len(server.requests) == 2


def test_a_try_that_hangs_is_given_up_and_the_next_one_gets_through(
    backend: ObjectStoreBackend, server: PutServer, file: tuple[Path, int]
) -> None:
    def says_nothing(request: Request) -> None:
        request.read()
        request.client.recv(1)

    server.acts = [says_nothing]
    calls = Calls(backend, Seams(), Budget(seconds=30, answer=0.3, first_pause=0.01))
    content = file[0].read_bytes()[:65536]
    assert calls.put_parts("write", KEY, [part_of(file, 0, len(content))], crc64nvme(content))
    assert server.objects == {PATH: content}


SIZES = Sizes(pack=4 * MIB, memory=16 * MIB)


def calls_to(backend: ObjectStoreBackend) -> Calls:
    return Calls(backend, Seams(), Budget(seconds=5.0, first_pause=0.01))


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    large = os.urandom(6 * MIB + 12345)
    (folder / "a-large").write_bytes(large)
    (folder / "b-small").write_bytes(os.urandom(70_000))
    (folder / "c-same-and-more").write_bytes(large[: 4 * MIB] + os.urandom(3 * MIB))
    with (folder / "d-sparse").open("wb") as file:
        file.write(os.urandom(MIB + 5))
        file.seek(5 * MIB)
        file.write(os.urandom(2 * MIB))
    (folder / "e-small").write_bytes(os.urandom(50_000))
    return folder


def test_packs_by_reference_are_those_that_would_have_been_sent_from_memory(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    content = look(folder_of(tmp_path))
    referred = pack_content(content, calls_to(backend), UPLOAD, SIZES)
    stepped = SteppedBackend()
    assert referred == pack_content(content, Calls(stepped, Seams()), UPLOAD, SIZES)
    for pack in referred.packs:
        assert server.objects[f"/bucket/a%20store/{keys.PACKS}{pack.name}"] == stepped.get(
            keys.PACKS + pack.name, keys.MAX_PACK
        )
    assert sum(request.is_direct for request in server.requests) >= 3


def test_shared_memory_is_sent_from_where_it_is(backend: ObjectStoreBackend, server: PutServer) -> None:
    data = os.urandom(6 * MIB)
    descriptor = os.memfd_create("test")
    os.pwrite(descriptor, b"before" + data, 0)
    content = Content(
        [Node(b"state", Kind.FILE, 0o644, 0, len(data))], [SharedMemory(descriptor, 6, len(data))], copied=True
    )
    packed = pack_content(content, calls_to(backend), UPLOAD, SIZES)
    assert b"".join(server.objects[f"/bucket/a%20store/{keys.PACKS}{pack.name}"] for pack in packed.packs) == data
    assert all(request.is_direct for request in server.requests)
    os.close(descriptor)


def test_a_refused_pack_is_sent_from_memory(backend: ObjectStoreBackend, server: PutServer, tmp_path: Path) -> None:
    server.acts = [lambda request: request.fails("403 Forbidden", "AccessDenied")]
    content = look(folder_of(tmp_path))
    packed = pack_content(content, calls_to(backend), UPLOAD, SIZES)
    assert {f"/bucket/a%20store/{keys.PACKS}{pack.name}" for pack in packed.packs} == server.objects.keys()
    assert not all(request.is_direct for request in server.requests)


@pytest.mark.parametrize("refused", [False, True], ids=["sent", "refused"])
def test_a_file_that_changes_on_its_way_fails_the_save(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, refused: bool
) -> None:
    """Once it was hashed, and before it was sent: no pack may hold anything but what its name stands for."""
    path = tmp_path / "state"
    path.write_bytes(os.urandom(12 * MIB))
    content = look(path)
    status = path.stat()

    def changes(request: Request) -> None:
        with path.open("r+b") as file:
            for at in range(0, 12 * MIB, MIB):
                file.seek(at)
                file.write(b"changed")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a mapping's writes show in no time
        takes(request)

    def takes(request: Request) -> None:
        if refused and request.is_direct:
            request.fails("403 Forbidden", "AccessDenied")
        else:
            server.take(request)

    server.acts = [changes, *[takes] * 10]
    with pytest.raises(OSError, match="changed while it was being") as caught:
        pack_content(content, calls_to(backend), UPLOAD, SIZES)
    assert caught.value.errno == errno.EBUSY


def test_a_file_whose_reading_fails_stays_open_until_its_packs_are_given_up(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its number would be another file's, of which they would send the rest."""
    path, leave = tmp_path / "state", Flight.__exit__
    path.write_bytes(os.urandom(12 * MIB))
    content, held = look(path), []

    def shortens(request: Request) -> None:
        os.truncate(path, 5 * MIB)
        time.sleep(0.2)
        server.take(request)

    def leaving(flight: Flight, *raised: Any) -> None:
        held.append(os.fspath(path) in _targets())
        leave(flight, *raised)

    monkeypatch.setattr(Flight, "__exit__", leaving)
    server.acts = [shortens]
    with pytest.raises(OSError, match="changed while it was being"):
        pack_content(content, calls_to(backend), UPLOAD, Sizes(pack=MIB, memory=4 * MIB))
    assert held == [True]
    assert os.fspath(path) not in _targets()


@pytest.mark.parametrize("sender", ["direct", "obstore"])
def test_packs_that_fail_at_first_leave_the_memory_to_others(
    server: PutServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    """Without waiting for the garbage collector: a traceback holds what its frames held."""
    monkeypatch.setenv("WAYPOST_SEND", sender)
    backend = ObjectStoreBackend("s3://bucket/a store")
    backend._checks = Known()
    path, tried = tmp_path / "state", set()
    path.write_bytes(os.urandom(24 * MIB))

    def fails_once(request: Request) -> None:
        if request.path in tried:
            server.take(request)
        else:
            tried.add(request.path)
            request.fails("500 Oh", "InternalError")

    server.acts = [fails_once] * 100
    gc.collect()
    gc.disable()
    try:
        packed = pack_content(look(path), calls_to(backend), UPLOAD, SIZES)
    finally:
        gc.enable()
    assert len(packed.packs) == len(tried) >= 6
    backend.close()


def test_a_change_that_no_checksum_shows_is_seen_by_its_time(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    path.write_bytes(os.urandom(12 * MIB))
    content = look(path)

    def takes_anything(request: Request) -> None:
        with path.open("r+b") as file:
            file.write(b"changed")
        request.read()
        request.says("200 OK")

    server.acts = [takes_anything] * 10
    with pytest.raises(OSError, match="it changed while it was being saved"):
        pack_content(content, calls_to(backend), UPLOAD, SIZES)


def test_files_that_are_referred_to_are_not_all_open_at_once(
    backend: ObjectStoreBackend, server: PutServer, tmp_path: Path
) -> None:
    folder, most = tmp_path / "folder", 0
    folder.mkdir()
    for number in range(70):
        (folder / f"{number:03}").write_bytes(os.urandom(MIB + number))

    def looks(request: Request) -> None:
        nonlocal most
        names = _targets()
        most = max(most, sum(name.startswith(str(folder)) for name in names))
        server.take(request)

    server.acts = [looks] * 200
    packed = pack_content(look(folder), calls_to(backend), UPLOAD, SIZES)
    assert most <= 65
    whole = b"".join(server.objects[f"/bucket/a%20store/{keys.PACKS}{pack.name}"] for pack in packed.packs)
    assert whole == b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def _targets() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return found


def test_a_line_that_stays_down_is_named(backend: ObjectStoreBackend, server: PutServer, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(os.urandom(2 * MIB))
    assert backend.takes_parts()
    server.close()
    calls = Calls(backend, Seams(), Budget(seconds=0.2, first_pause=0.05))
    with pytest.raises(StorageError, match="write a pack to"):
        pack_content(look(path), calls, UPLOAD, SIZES)
