"""Large ranges of S3 are read by our own client: what it understands, and what it leaves to obstore.

The server is a real socket that says what each test tells it to, word for word. obstore signs, with keys that nobody
looks at.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.certificates import Authority
from tests.unit.store.speaking_server import SpeakingServer, name_it
from waypost.backends import connections
from waypost.backends.aligned import BEHIND
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import PIECE, AbsentError, ThrottledError, UnreachableError

SIZE = 2 * PIECE + 1000
START = 4096
CONTENT = os.urandom(SIZE)
RANGE = f"bytes {START}-{START + SIZE - 1}/99999999"

Speech = Callable[[socket.socket], None]


def says(head: str, body: bytes = b"") -> Speech:
    """Answers one request so, and keeps the connection."""
    return lambda client: client.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)


def right(body: bytes = CONTENT, told: str = RANGE, extra: str = "") -> Speech:
    return says(f"HTTP/1.1 206 Partial Content\nContent-Length: {len(body)}\nContent-Range: {told}{extra}", body)


def hangs_up(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError  # or this connection's thread would read what has arrived since


def says_and_hangs_up(words: bytes) -> Speech:
    def speech(client: socket.socket) -> None:
        client.sendall(words)
        hangs_up(client)

    return speech


def breaks_off(client: socket.socket) -> None:
    head = f"HTTP/1.1 206 x\r\nContent-Length: {SIZE}\r\nContent-Range: {RANGE}\r\n\r\n"
    says_and_hangs_up(head.encode() + CONTENT[: PIECE + 5])(client)


class Server(SpeakingServer):
    """Answers the requests of all connections, one after the other, by the speeches given."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.speeches: list[Speech] = []
        self.requests: list[bytes] = []
        super().__init__(context)

    def answer(self, client: socket.socket, head: bytes, early: bytes) -> None:
        assert not early
        self.requests.append(head + b"\r\n\r\n")
        self.speeches.pop(0)(client)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with plain_server(monkeypatch) as server:
        yield server


@contextlib.contextmanager
def plain_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    name_it(monkeypatch, server)
    yield server
    server.close()


@pytest.fixture
def backend(server: Server) -> Iterator[ObjectStoreBackend]:
    backend = ObjectStoreBackend("s3://bucket/a store")
    yield backend
    backend.close()


def read(backend: ObjectStoreBackend, length: int = SIZE) -> bytes:
    got = bytearray()
    backend.read_range("packs/one", START, length, got.extend)
    return bytes(got)


def read_anew() -> bytes:
    """By a backend that sees the environment of now."""
    with contextlib.closing(ObjectStoreBackend("s3://bucket/a store")) as backend:
        return read(backend)


def by_obstore(request: bytes) -> bool:
    """obstore signs in a header, our own client in the address."""
    return b"authorization:" in request.lower()


def test_a_range_comes_in_pieces_by_a_signed_address(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [right()]
    pieces = []
    backend.read_range("packs/one", START, SIZE, lambda piece: pieces.append(bytes(piece)))
    assert b"".join(pieces) == CONTENT
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, 1000]
    assert server.requests[0].startswith(b"GET /bucket/a%20store/packs/one?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert f"Range: bytes={START}-{START + SIZE - 1}\r\n".encode() in server.requests[0]
    assert not by_obstore(server.requests[0])


def test_the_end_of_the_object_may_come_early(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [right(CONTENT[:500], f"bytes {START}-{START + 499}/{START + 500}")]
    assert read(backend) == CONTENT[:500]


def test_nothing_is_behind_the_end(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [says("HTTP/1.1 416 Requested Range Not Satisfiable\nContent-Length: 2", b"no")]
    assert read(backend) == b""
    assert len(server.requests) == 1


def test_a_connection_is_used_again(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [right(), right(), right()]
    for _ in range(3):
        assert read(backend) == CONTENT
    assert server.connections == 1


def test_a_kept_connection_that_was_closed_is_opened_anew(server: Server, backend: ObjectStoreBackend) -> None:
    head = f"HTTP/1.1 206 x\r\nContent-Length: {SIZE}\r\nContent-Range: {RANGE}\r\n\r\n"
    server.speeches = [says_and_hangs_up(head.encode() + CONTENT), right()]
    assert read(backend) == CONTENT
    assert read(backend) == CONTENT
    assert server.connections == 2


def test_pieces_come_in_the_memory_of_the_last_request(server: Server, backend: ObjectStoreBackend) -> None:
    """Where every processor copies fast (`waypost.backends.aligned`)."""
    places: list[int] = []

    def take(piece: memoryview) -> None:
        places.append(ctypes.addressof(ctypes.c_char.from_buffer(piece)))

    server.speeches = [right(), right()]
    for _ in range(2):
        backend.read_range("packs/one", START, SIZE, take)
    assert len(places) == 6
    assert len(set(places)) == 1
    assert places[0] % mmap.PAGESIZE == BEHIND


def test_memory_of_a_request_that_was_given_up_is_not_used_again(server: Server, backend: ObjectStoreBackend) -> None:
    """Its thread may be about to write into it."""
    kept: list[memoryview] = []

    def gives_up(piece: memoryview) -> None:
        kept.append(piece)
        raise RuntimeError

    server.speeches = [right(), right()]
    with pytest.raises(RuntimeError):
        backend.read_range("packs/one", START, SIZE, gives_up)
    first = bytes(kept[0])
    kept[0][:] = bytes(len(kept[0]))
    assert read(backend) == CONTENT
    assert kept[0] == bytes(len(first))


def test_a_new_connection_that_gives_no_answer_is_trouble(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [hangs_up]
    with pytest.raises(UnreachableError):
        read(backend)
    assert len(server.requests) == 1, "what is repeated is decided elsewhere"


def test_an_answer_that_breaks_off_is_trouble(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [breaks_off, right()]
    with pytest.raises(UnreachableError, match=r"too early \(GET http://127\.0\.0\.1:\d+/bucket/a%20store/packs/one\)"):
        read(backend)
    assert read(backend) == CONTENT
    assert server.connections == 2


def test_a_taker_that_gives_up_ends_the_connection(server: Server, backend: ObjectStoreBackend) -> None:
    """What is left of the answer would else be taken for the next one's."""

    class GivenUpError(Exception):
        pass

    def gives_up(_piece: memoryview) -> None:
        raise GivenUpError

    server.speeches = [right(), right()]
    with pytest.raises(GivenUpError):
        backend.read_range("packs/one", START, SIZE, gives_up)
    assert read(backend) == CONTENT
    assert server.connections == 2


@pytest.mark.parametrize(
    "odd",
    [
        right(told=f"bytes {START + 1}-{START + SIZE}/99999999"),
        right(told=f"bytes {START}-{START + SIZE}/99999999"),
        right(CONTENT + b"x", f"bytes {START}-{START + SIZE}/99999999"),
        right(told="bytes */99999999"),
        right(extra="\nContent-Encoding: gzip"),
        says(f"HTTP/1.1 200 OK\nContent-Length: {SIZE}", CONTENT),
        says(f"HTTP/1.1 206 OK\nContent-Range: {RANGE}\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
        says("HTTP/1.1 307 Temporary Redirect\nLocation: http://127.0.0.1:1/elsewhere\nContent-Length: 0"),
        says("HTTP/1.1 403 Forbidden\nContent-Length: 0"),
        says("HTTP/1.1 400 Bad Request\nContent-Length: 0"),
        says("HTTP/1.1 414 URI Too Long\nContent-Length: 0"),
        says("HTTP/1.1 501 Not Implemented\nContent-Length: 0"),
    ],
)
def test_what_is_odd_is_left_to_obstore(server: Server, backend: ObjectStoreBackend, odd: Speech) -> None:
    server.speeches = [odd, right()]
    assert read(backend) == CONTENT
    assert [by_obstore(request) for request in server.requests] == [False, True]


def test_who_refuses_signed_addresses_three_times_is_not_asked_again(
    server: Server, backend: ObjectStoreBackend
) -> None:
    no = says("HTTP/1.1 403 Forbidden\nContent-Length: 0")
    server.speeches = [no, right(), no, right(), no, right(), right()]
    for _ in range(4):
        assert read(backend) == CONTENT
    assert [by_obstore(request) for request in server.requests] == [False, True, False, True, False, True, True]


def test_errors_mean_what_they_mean_to_obstore(server: Server, backend: ObjectStoreBackend) -> None:
    absent = b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
    slow = b"<Error><Code>SlowDown</Code><Message>less</Message></Error>"
    server.speeches = [
        says(f"HTTP/1.1 404 Not Found\nContent-Length: {len(absent)}", absent),
        says(f"HTTP/1.1 503 Service Unavailable\nContent-Length: {len(slow)}", slow),
        says("HTTP/1.1 500 Internal Server Error\nContent-Length: 0"),
    ]
    with pytest.raises(AbsentError, match=r"404 Not Found, NoSuchKey: no such key \(GET http://"):
        read(backend)
    with pytest.raises(ThrottledError, match="503 Service Unavailable, SlowDown: less"):
        read(backend)
    with pytest.raises(UnreachableError, match="500 Internal Server Error"):
        read(backend)
    assert not any(by_obstore(request) for request in server.requests)


def test_garbage_is_trouble(server: Server, backend: ObjectStoreBackend) -> None:
    for garbage in (b"\x16\x03\x01 hello\r\n\r\n", b"HTTP/1.1 206 x\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"\r\n" * 9):
        server.speeches = [says_and_hangs_up(garbage)]
        with pytest.raises(UnreachableError):
            read(backend)


def test_a_silent_server_is_given_up(
    server: Server, backend: ObjectStoreBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.2)
    wait = threading.Event()

    def says_nothing(_client: socket.socket) -> None:
        wait.wait(10)

    server.speeches = [says_nothing]
    with pytest.raises(UnreachableError, match="timed out"):
        read(backend)
    wait.set()


def test_small_ranges_are_read_by_obstore(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [right(CONTENT[:100], f"bytes {START}-{START + 99}/99999999")]
    assert read(backend, 100) == CONTENT[:100]
    assert by_obstore(server.requests[0])


def test_the_user_may_want_obstore(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_FETCH", "obstore")
    server.speeches = [right()]
    assert read_anew() == CONTENT
    assert by_obstore(server.requests[0])


def test_unsigned_requests_are_obstores(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for a signature all the same, it would look for credentials, in vain and for long."""
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    server.speeches = [right()]
    assert read_anew() == CONTENT
    assert b"X-Amz-Signature" not in server.requests[0]


def test_behind_a_proxy_obstore_reads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3.example.com")
    server.speeches = [right(), right()]
    assert read_anew() == CONTENT
    assert by_obstore(server.requests[0])
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert read_anew() == CONTENT
    assert not by_obstore(server.requests[1])


def test_a_forked_process_leaves_its_parents_connections_alone(server: Server, backend: ObjectStoreBackend) -> None:
    server.speeches = [right(), right(), right()]
    assert read(backend) == CONTENT
    child = os.fork()
    if not child:
        good = False
        with contextlib.suppress(BaseException):
            good = read(backend) == CONTENT
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(backend) == CONTENT
    assert server.connections == 2


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@contextlib.contextmanager
def secret_server(authority: Authority, monkeypatch: pytest.MonkeyPatch, host: str = "127.0.0.1") -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", "server", hosts=[host]))
    server = Server(context)
    name_it(monkeypatch, server)
    yield server
    server.close()


def test_over_tls_ranges_come_over_one_connection_too(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with secret_server(authority, monkeypatch) as server:
        server.speeches = [right(), right()]
        with contextlib.closing(ObjectStoreBackend("s3://bucket/a store")) as backend:
            assert read(backend) == CONTENT
            assert read(backend) == CONTENT
        assert server.connections == 1
        assert not by_obstore(server.requests[0])


def test_over_tls_a_cut_is_trouble_too(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with secret_server(authority, monkeypatch) as server:
        server.speeches = [breaks_off]
        with pytest.raises(UnreachableError):
            read_anew()


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_is_read_to_its_end_though_the_server_will_hang_up_behind_it(
    tls: bool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with secret_server(authority, monkeypatch) if tls else plain_server(monkeypatch) as server:
        server.speeches = [right(extra="\nConnection: close"), right()]
        with contextlib.closing(ObjectStoreBackend("s3://bucket/a store")) as backend:
            assert read(backend) == CONTENT
            assert read(backend) == CONTENT
        assert server.connections == 2
        assert not any(by_obstore(request) for request in server.requests)


def test_over_tls_a_server_may_say_goodbye_between_answers(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And within one: then it is trouble."""

    def says_goodbye(client: socket.socket) -> None:
        assert isinstance(client, ssl.SSLSocket)
        client.settimeout(1)
        with contextlib.suppress(OSError):
            client.unwrap()
        hangs_up(client)

    def answers_and_says_goodbye(client: socket.socket) -> None:
        right()(client)
        says_goodbye(client)

    def says_goodbye_too_early(client: socket.socket) -> None:
        head = f"HTTP/1.1 206 x\r\nContent-Length: {SIZE}\r\nContent-Range: {RANGE}\r\n\r\n"
        client.sendall(head.encode() + CONTENT[: PIECE + 5])
        says_goodbye(client)

    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with secret_server(authority, monkeypatch) as server:
        server.speeches = [answers_and_says_goodbye, right(), says_goodbye_too_early]
        with contextlib.closing(ObjectStoreBackend("s3://bucket/a store")) as backend:
            assert read(backend) == CONTENT
            assert read(backend) == CONTENT
            with pytest.raises(UnreachableError):
                read(backend)
        assert server.connections == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "another.example.com"])
def test_nobody_gets_a_request_who_is_not_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Neither a certificate of nobody that is known, nor one for another name; nor does obstore give it one."""
    if host != "127.0.0.1":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with secret_server(authority, monkeypatch, host) as server:
        server.speeches = [right()]
        with pytest.raises(UnreachableError):
            read_anew()
        assert server.requests == []
