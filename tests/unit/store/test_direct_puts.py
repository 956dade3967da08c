"""Packs that are sent right from the files where they stand: whole, checked, and nothing behind what is given up."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from tests.unit.store.put_server import PutServer, Request, calls_to
from waypost.backends import connections
from waypost.backends.checksums import Known
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import FilePart, Part, SilentError, ThrottledError, UnreachableError, UnsupportedError
from waypost.store.calls import Budget, Calls
from waypost.store.keys import MIB
from waypost.store.seams import Seams

KEY = "packs/one+two"
PATH = "/bucket/a%20store/packs/one%2Btwo"


class Loose:
    """A cord that nobody cuts."""

    def hold(self, hang_up: object) -> None:
        pass

    def let_go(self) -> None:
        pass


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

    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.3)
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
