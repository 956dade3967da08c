"""Several requests in flight at a restore: whatever becomes of one of them, what is handed out is what was saved."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest
from blake3 import blake3

from tests.unit.store.stepped import Process, SteppedBackend
from waypost.backends.protocol import ThrottledError, UnreachableError
from waypost.checkpoints import Checkpoints
from waypost.errors import StopRequested, StorageError
from waypost.store import keys
from waypost.store.calls import Budget, Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint
from waypost.store.fetching import read_pieces
from waypost.store.flight import MOST_HELD
from waypost.store.incoming import Piece
from waypost.store.manifest import Chunk, Manifest, Pack
from waypost.store.placing import Place
from waypost.store.reading_into import Target, read_into
from waypost.store.seams import Seams
from waypost.store.tree import Kind, Node
from waypost.store.width import MOST, START

PACKS = 24
SIZE = 50_000
PATIENT = Budget(seconds=20.0, first_pause=0.001, longest_pause=0.01)


class Places(SteppedBackend):
    """A store of many packs, and a say in what becomes of each request for a part of one."""

    def __init__(self, size: int = SIZE, packs: int = PACKS) -> None:
        super().__init__()
        Process(self).save(b"something")
        entry = self.entry(2)
        assert isinstance(entry, Checkpoint)
        self.checkpoint = entry
        content = [bytes([65 + number]) * size for number in range(packs)]
        names = [keys.object_name(1, 9, blake3(data).hexdigest()) for data in content]
        self.objects |= {keys.PACKS + name: data for name, data in zip(names, content, strict=True)}
        chunks = [Chunk(index, 0, size, blake3(data).hexdigest()) for index, data in enumerate(content)]
        self.content = b"".join(content)
        node = Node(b"file", Kind.FILE, 0o600, 0, len(self.content))
        self.manifest = Manifest([node], [chunks], [Pack(name, size) for name in names])
        self.in_flight = self.most_in_flight = 0
        self.asked: list[int] = []
        """Which pack, at each request."""
        self.meet: Callable[[int, bytes], bytes] = lambda number, data: data
        """What becomes of a request for this pack: its data, other data, an error."""
        self._lock = threading.Lock()
        self._numbers = {keys.PACKS + name: number for number, name in enumerate(names)}

    def part(self, key: str, start: int, length: int) -> bytes:
        number = self._numbers[key]
        with self._lock:
            self.asked.append(number)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self.meet(number, self.objects[key][start : start + length])
        finally:
            with self._lock:
                self.in_flight -= 1

    def calls(self, interrupt: Callable[[], None] = lambda: None, budget: Budget = PATIENT) -> Calls:
        return Calls(self, Seams(), budget, interrupt)

    def read(self, calls: Calls | None = None) -> bytes:
        memory = bytearray(os.urandom(1)) * len(self.content)
        read_into(calls or self.calls(), self.checkpoint, self.manifest, [Target(0, 0, memoryview(memory))])
        return bytes(memory)


@pytest.fixture
def place() -> Places:
    return Places()


class Crowd:
    """Lets requests answer only when several are waiting, in an order of its own."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._chance = size, random.Random(seed)
        self._waiting: list[threading.Event] = []
        self._lock, self._left = threading.Lock(), PACKS
        self.order: list[int] = []

    def meet(self, number: int, data: bytes) -> bytes:
        turn = threading.Event()
        with self._lock:
            self._waiting.append(turn)
            self._release()
        assert turn.wait(20), "as many requests as expected are never in flight at once"
        with self._lock:
            self.order.append(number)
            self._left -= 1
            self._release()
        return data

    def _release(self) -> None:
        if self._waiting and len(self._waiting) >= min(self._size, self._left):
            self._waiting.pop(self._chance.randrange(len(self._waiting))).set()


@pytest.mark.parametrize("seed", range(5))
def test_in_whatever_order_answers_come_the_content_is_right(place: Places, seed: int) -> None:
    crowd = Crowd(START, seed)
    place.meet = crowd.meet
    assert place.read() == place.content
    assert crowd.order != sorted(crowd.order)
    assert START <= place.most_in_flight <= MOST


def test_a_range_that_arrives_wrong_is_read_again_alone(place: Places) -> None:
    bad = iter([b"x" * SIZE, b"A" * (SIZE - 1)])
    place.meet = lambda number, data: next(bad, data) if number == 7 else data
    assert place.read() == place.content
    assert [place.asked.count(number) for number in range(PACKS)] == [
        3 if number == 7 else 1 for number in range(PACKS)
    ]


def test_one_that_stays_wrong_is_damage_and_ends_the_rest(place: Places) -> None:
    place.meet = lambda number, data: data[:-1] + b"!" if number == 2 else data
    with pytest.raises(DamagedError, match="doesn't have the content that was saved"):
        place.read()
    assert place.asked.count(2) == 3
    assert place.in_flight == 0


def test_wrong_bytes_on_the_disk_never_get_a_name(place: Places, tmp_path: Path) -> None:
    """They were written as they came in; what stood at the path stays, and nothing stands beside it."""
    out = tmp_path / "out"
    with Checkpoints(backend=place) as store:
        assert store.restore(out) is not None
    before = {path: path.read_bytes() for path in out.iterdir()}
    place.meet = lambda number, data: data[:-1] + b"!" if number == 5 else data
    calls = place.calls()
    with pytest.raises(DamagedError):
        Place(out, replace=False).fill(
            place.manifest, lambda take: read_pieces(calls, place.checkpoint, place.manifest, take), "x"
        )
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert os.listdir(tmp_path) == ["out"]
    place.meet = lambda number, data: data
    Place(out, replace=False).fill(
        place.manifest, lambda take: read_pieces(calls, place.checkpoint, place.manifest, take), "x"
    )
    assert (out / "file").read_bytes() == place.content


def test_damage_in_the_very_last_request_is_noticed_too(place: Places) -> None:
    place.meet = lambda number, data: b"!" + data[1:] if number == PACKS - 1 else data
    with pytest.raises(DamagedError, match="doesn't have the content that was saved"):
        place.read()


def test_every_chunk_of_a_request_is_verified_not_only_the_first(place: Places) -> None:
    name = place.manifest.packs[0].name
    pieces = [b"first", b"second", b"third"]
    chunks = [Chunk(0, 100 * index, len(data), blake3(data).hexdigest()) for index, data in enumerate(pieces)]
    content = b"".join(data.ljust(100, b".") for data in pieces)
    place.objects[keys.PACKS + name] = content.replace(b"second", b"secOnd")
    node = Node(b"file", Kind.FILE, 0o600, 0, sum(map(len, pieces)))
    found = Manifest([node], [chunks], [Pack(name, len(content))])
    with pytest.raises(DamagedError, match="doesn't have the content that was saved"):
        read_pieces(place.calls(), place.checkpoint, found, lambda piece: None)


def test_damage_is_told_without_waiting_for_requests_that_hang(place: Places) -> None:
    hanging = threading.Event()

    def meet(number: int, data: bytes) -> bytes:
        if number in (1, 2):
            hanging.wait(20)
        return b"" if number == 0 else data

    place.meet = meet
    began = time.monotonic()
    with pytest.raises(DamagedError, match="is truncated"):
        place.read()
    assert time.monotonic() - began < 10
    hanging.set()


def test_a_slow_one_holds_nobody_else_up(place: Places) -> None:
    others = threading.Event()

    def meet(number: int, data: bytes) -> bytes:
        if number == 1:
            assert others.wait(20), "the others waited for the slow one"
        elif len(set(place.asked)) == PACKS:
            others.set()
        return data

    place.meet = meet
    assert place.read() == place.content


def test_a_place_that_is_asked_too_often_is_asked_less_often(place: Places) -> None:
    told = threading.Event()
    seen: list[int] = []

    def meet(number: int, data: bytes) -> bytes:
        if number == 0 and not told.is_set():
            told.set()
            raise ThrottledError("503 Slow Down")
        if number > 2 * START:
            seen.append(place.in_flight)
        time.sleep(0.005)  # as long as an answer takes: else no two would ever be in flight
        return data

    place.meet = meet
    assert place.read() == place.content
    assert place.asked.count(0) == 2
    assert max(seen) == START // 2


def test_a_line_that_is_too_slow_for_so_many_gets_fewer_and_not_the_same_again(place: Places) -> None:
    """More than two at once fall silent, all of them, as on a line that drops what is too much."""
    alive: set[object] = set()
    silent: list[int] = []

    def meet(number: int, data: bytes) -> bytes:
        request = object()
        alive.add(request)
        time.sleep(0.03)  # as long as it takes for all to be there
        if many := len(alive) > START // 2:
            silent.append(number)
            time.sleep(0.3)
        alive.discard(request)
        if many:
            time.sleep(0.2)
        return data

    place.meet = meet
    assert place.read(place.calls(budget=Budget(seconds=4, answer=0.3, first_pause=0.001, longest_pause=0.01)))
    assert len(silent) <= 2 * START


def test_a_place_that_does_one_at_a_time_is_asked_for_one_at_a_time() -> None:
    class Single(Places):
        most_requests = 1

    place = Single()

    def meet(number: int, data: bytes) -> bytes:
        time.sleep(0.002)
        return data

    place.meet = meet
    assert place.read() == place.content
    assert place.most_in_flight == 1


def test_passing_trouble_of_many_at_once_is_waited_out(place: Places) -> None:
    failed: set[int] = set()

    def meet(number: int, data: bytes) -> bytes:
        if number not in failed:
            failed.add(number)
            raise UnreachableError("connection reset by peer")
        return data

    place.meet = meet
    assert place.read() == place.content
    assert len(place.asked) == 2 * PACKS


def test_trouble_that_doesn_t_pass_is_one_error_and_soon_the_end(place: Places) -> None:
    def meet(number: int, data: bytes) -> bytes:
        if number >= 5:
            raise UnreachableError("connection refused")
        return data

    place.meet = meet
    with pytest.raises(StorageError, match="read a pack of"):
        place.read(place.calls(budget=Budget(seconds=0.2, first_pause=0.01, longest_pause=0.05)))
    assert place.in_flight == 0
    assert max(place.asked) < PACKS - 1, "it went on to the end"


def test_a_stop_order_ends_every_lane_and_nothing_is_written_behind_it(place: Places) -> None:
    ordered, blocked = threading.Event(), threading.Event()

    def interrupt() -> None:
        if ordered.is_set():
            raise StopRequested("SIGTERM")

    def meet(number: int, data: bytes) -> bytes:
        if number >= 6:
            ordered.set()
            blocked.wait(20)
        return data

    place.meet = meet
    memory = bytearray(len(place.content))
    began = time.monotonic()
    with pytest.raises(StopRequested):
        read_into(place.calls(interrupt), place.checkpoint, place.manifest, [Target(0, 0, memoryview(memory))])
    assert time.monotonic() - began < 10, "it waited for requests that hang"
    before = bytes(memory)
    blocked.set()
    while place.in_flight:
        time.sleep(0.001)
    assert bytes(memory) == before
    assert before[6 * SIZE :] == bytes(len(memory) - 6 * SIZE)


@pytest.mark.parametrize("packs", [1, PACKS], ids=["one request", "many requests"])
def test_however_often_ctrl_c_is_pressed_nobody_writes_any_more_when_it_is_over(packs: int) -> None:
    place = Places(packs=packs)
    inside: set[int] = set()
    working, pressed = threading.Event(), threading.Event()

    def take(piece: Piece) -> None:
        inside.add(piece.offset)
        working.set()
        assert pressed.wait(20)
        inside.discard(piece.offset)

    def interrupt(number: int, frame: object) -> None:
        if not over:
            raise KeyboardInterrupt

    def press() -> None:
        assert working.wait(20)
        for _ in range(5):
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.02)
        pressed.set()

    over = False
    main = threading.get_ident()
    before = signal.signal(signal.SIGINT, interrupt)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        read_pieces(place.calls(), place.checkpoint, place.manifest, take)
    except KeyboardInterrupt:
        over = True
    left = set(inside)
    presser.join()
    signal.signal(signal.SIGINT, before)
    assert over
    assert not left


def test_what_a_given_up_request_reads_late_reaches_nobody(place: Places) -> None:
    """It answers with other bytes after its successor's were verified and handed out."""
    late, first = threading.Event(), threading.Event()

    def meet(number: int, data: bytes) -> bytes:
        if number == 3 and not first.is_set():
            first.set()
            late.wait(20)
            return b"z" * SIZE
        return data

    place.meet = meet
    memory = bytearray(len(place.content))
    impatient = place.calls(budget=Budget(seconds=20, answer=0.05, first_pause=0.001))
    read_into(impatient, place.checkpoint, place.manifest, [Target(0, 0, memoryview(memory))])
    assert memory == place.content
    late.set()
    while place.in_flight:
        time.sleep(0.001)
    assert memory == place.content


def test_what_is_in_flight_is_bounded_in_bytes() -> None:
    size = MOST_HELD // 3
    place = Places(size=size, packs=5)
    gate = threading.Semaphore(0)
    threading.Timer(0.2, lambda: gate.release(PACKS)).start()

    def meet(number: int, data: bytes) -> bytes:
        gate.acquire()
        return data

    place.meet = meet
    seen: list[int] = []
    read_pieces(place.calls(), place.checkpoint, place.manifest, lambda piece: seen.append(piece.offset))
    assert sorted({offset // size for offset in seen}) == list(range(5))
    assert place.most_in_flight == 3


def test_the_first_error_is_told_whatever_it_is(place: Places) -> None:
    class DiskFullError(OSError):
        pass

    def take(piece: Piece) -> None:
        if piece.offset == 4 * SIZE:
            raise DiskFullError

    with pytest.raises(DiskFullError):
        read_pieces(place.calls(), place.checkpoint, place.manifest, take)
    assert place.in_flight == 0


def test_a_single_request_needs_no_lanes(place: Places) -> None:
    def never(most: int, name: str) -> Executor:
        raise AssertionError("threads for one request")

    calls = Calls(place, Seams(pool=never), PATIENT)
    node = Node(b"file", Kind.FILE, 0o600, 0, SIZE)
    single = Manifest([node], [place.manifest.chunks[0][:1]], place.manifest.packs)
    memory = bytearray(SIZE)
    read_into(calls, place.checkpoint, single, [Target(0, 0, memoryview(memory))])
    assert memory == place.content[:SIZE]
