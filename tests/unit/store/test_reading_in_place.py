"""What is read right into the program's memory: the same bytes as by way of a copy, and none once it was given up."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.certificates import Authority
from tests.unit.store.speaking_server import SpeakingServer, name_it
from tests.unit.store.stepped import SteppedBackend
from tests.unit.store.test_reading_into import GARBAGE, drawn, parts, stored
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import PIECE, Take
from waypost.errors import StorageError
from waypost.store import keys, reading_into
from waypost.store.calls import Budget, Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint
from waypost.store.incoming import Incoming
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.ranges import Request, Wanted
from waypost.store.reading_into import Target, read_into
from waypost.store.seams import Seams
from waypost.store.tree import Kind, Node

SIZE = 3 * PIECE + 70_000
PART = 300_000
"""Read by our own client, and soon given up: a transfer gets time by its size."""
CONTENT = os.urandom(SIZE)


class PullingBackend(SteppedBackend):
    """Reads right into the taker's memory where it has some, so many bytes at a time."""

    def __init__(self, steps: Callable[[], int]) -> None:
        super().__init__()
        self.steps = steps

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        data, at = memoryview(self.part(key, start, length)), 0

        def fill(target: memoryview) -> int:
            size = min(len(target), len(data) - at, self.steps())
            target[:size] = data[at : at + size]
            return size

        while at < len(data):
            size = take.pull(fill, self.steps(), lambda: None)  # type: ignore[attr-defined]
            if size is None:
                size = min(len(data) - at, self.steps())
                take(data[at : at + size])
            at += size


@given(st.lists(st.lists(parts, max_size=6), min_size=1, max_size=4), st.data())
def test_whatever_is_asked_for_comes_and_nothing_around_it_is_touched(
    files: list[list[bytes | int]], data: st.DataObject
) -> None:
    backend = PullingBackend(lambda: data.draw(st.integers(1, 12), "so many bytes"))
    _, calls, entry, found = stored(files, backend)
    memory, wanted, targets = drawn(files, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_into, "_WORTH", data.draw(st.integers(1, 4), "worth"))
        read_into(calls, entry, found, targets)
    assert memory == wanted


def test_what_was_read_in_place_is_verified() -> None:
    backend, calls, entry, found = stored([[CONTENT]], PullingBackend(lambda: PIECE))
    (key,) = (key for key in backend.objects if key.endswith(found.packs[0].name))
    backend.objects[key] = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(DamagedError, match="doesn't have the content that was saved"):
        read_into(calls, entry, found, [Target(0, 0, memoryview(bytearray(SIZE)))])


def test_memory_that_somebody_writes_to_is_no_damage() -> None:
    """What is hashed in the program's memory may have been changed there: it is read again, by way of our own."""
    memory = bytearray(SIZE)

    class WrittenTo(PullingBackend):
        def read_range(self, key: str, start: int, length: int, take: Take) -> None:
            def writes(fill: Callable[[memoryview], int], most: int, hang_up: Callable[[], None]) -> int | None:
                def both(target: memoryview) -> int:
                    size = fill(target)
                    target[0] ^= 1
                    return size

                return pull(both, most, hang_up)

            pull: Callable[..., int | None] = take.pull  # type: ignore[attr-defined]
            take.pull = writes  # type: ignore[attr-defined]
            super().read_range(key, start, length, take)

    _, calls, entry, found = stored([[CONTENT]], WrittenTo(lambda: PIECE))
    read_into(calls, entry, found, [Target(0, 0, memoryview(memory))])
    assert memory == CONTENT


def test_bytes_that_two_files_share_are_taken_for_both() -> None:
    """Only where they belong to one place alone can they be read to it."""
    chunk = Chunk(0, 0, 10, blake3(b"0123456789").hexdigest())
    request = Request(Pack("p", 30), 0, 30, [Wanted(chunk, 0, 0), Wanted(chunk, 1, 5)])
    places = [bytearray(10), bytearray(15)]

    def fill(target: memoryview) -> int:
        pytest.fail("it has two places")

    incoming = Incoming(
        request,
        lambda piece: places[piece.node].__setitem__(
            slice(piece.offset, piece.offset + len(piece.data)), bytes(piece.data)
        ),
        lambda node, offset, most: memoryview(places[node])[offset : offset + most],
    )
    assert incoming.pull(fill, 30) is None
    incoming.receive(memoryview(b"0123456789" + bytes(20)))
    assert places == [b"0123456789", bytes(5) + b"0123456789"]
    assert incoming.pull(fill, 30) is None, "behind the last"
    assert incoming.wrong() is None


class Server(SpeakingServer):
    """Serves CONTENT as a pack. Of each answer it sends `quick` bytes, and the rest, which is wrong, when told to."""

    quick = SIZE
    late = threading.Event()

    def answer(self, client: socket.socket, head: bytes, early: bytes) -> None:
        assert not early
        told = next(line for line in head.decode().split("\r\n") if line.lower().startswith("range:"))
        first, last = (int(number) for number in told.partition("bytes=")[2].split("-"))
        content = CONTENT[first : last + 1]
        client.sendall(
            f"HTTP/1.1 206 x\r\nContent-Length: {len(content)}\r\n"
            f"Content-Range: bytes {first}-{last}/{SIZE}\r\n\r\n".encode()
        )
        quick = self.quick
        client.sendall(content[:quick])
        if quick < len(content):
            assert self.late.wait(9)
            client.sendall(bytes(len(content) - quick))


@pytest.fixture(params=["http", "TLS"])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    context = None
    if request.param == "TLS":
        authority = Authority(tmp_path_factory.mktemp("tls"))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("server", "server", hosts=["127.0.0.1"]))
    server = Server(context)
    server.late = threading.Event()
    name_it(monkeypatch, server)
    yield server
    server.late.set()
    server.close()


def one_pack() -> tuple[Checkpoint, Manifest]:
    """A checkpoint of one file of several chunks in one pack, as they are served."""
    _, _, entry, _ = stored([[b"x"]])
    edges = [*range(0, SIZE, PART), SIZE]
    chunks = [
        Chunk(0, first, last - first, blake3(CONTENT[first:last]).hexdigest())
        for first, last in itertools.pairwise(edges)
    ]
    name = keys.object_name(1, 9, blake3(CONTENT).hexdigest())
    return entry, Manifest([Node(b"0", Kind.FILE, 0o600, 0, SIZE)], [chunks], [Pack(name, SIZE)])


def test_a_large_answer_goes_from_the_connection_to_its_place(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, found = one_pack()
    monkeypatch.setattr("waypost.backends.ranged.between", lambda size: pytest.fail("a copy in between"))
    memory = bytearray(SIZE)
    with contextlib.closing(ObjectStoreBackend("s3://bucket/store")) as backend:
        read_into(Calls(backend, Seams()), entry, found, [Target(0, 0, memoryview(memory))])
    assert memory == CONTENT


@pytest.mark.parametrize("quick", [5, 200_005])
def test_nothing_is_written_by_a_try_that_was_given_up(server: Server, quick: int) -> None:
    """Its connection is closed at once: who gave it up returns in time, and what comes late has nowhere to go."""
    entry, found = one_pack()
    server.quick = quick
    memory = bytearray(PART)
    impatient = Budget(seconds=0.2, answer=0.2, first_pause=0.001)
    with contextlib.closing(ObjectStoreBackend("s3://bucket/store")) as backend:
        calls = Calls(backend, Seams(), impatient)
        began = time.monotonic()
        with pytest.raises(StorageError):
            read_into(calls, entry, found, [Target(0, 0, memoryview(memory))])
        assert time.monotonic() - began < 6
        here = [thread for thread in threading.enumerate() if thread.name.startswith("waypost")]
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), GARBAGE, PART)
        server.late.set()
        for thread in here:
            thread.join(0.2)
    assert memory == bytearray([GARBAGE]) * PART


def test_what_a_given_up_try_would_read_late_is_read_nowhere() -> None:
    """It gets its answer, other bytes, after its successor's were verified and handed out."""
    content = CONTENT[:100_000]
    late, first, over = threading.Event(), threading.Event(), threading.Event()

    class LateBackend(PullingBackend):
        def read_range(self, key: str, start: int, length: int, take: Take) -> None:
            if first.is_set():
                super().read_range(key, start, length, take)
                return
            first.set()
            assert late.wait(20)
            self.objects[key] = bytes(len(content))
            try:
                super().read_range(key, start, length, take)
            finally:
                over.set()

    backend, _, entry, found = stored([[content]], LateBackend(lambda: PIECE))
    memory = bytearray(len(content))
    impatient = Calls(backend, Seams(), Budget(seconds=20, answer=0.05, first_pause=0.001))
    read_into(impatient, entry, found, [Target(0, 0, memoryview(memory))])
    assert memory == content
    late.set()
    assert over.wait(20)
    assert memory == content
