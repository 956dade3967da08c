"""A store in memory whose every request a test can decide, and the world around it (time, chance) to match.

A request can answer, lose its answer, be refused, or hang in the network and be carried out later, even after its
client is gone: what the store's rules are about. Nothing sleeps.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from blake3 import blake3

from waypost.backends.protocol import (
    AbsentError,
    ExistsError,
    RefusedError,
    Take,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)
from waypost.store import keys, parts
from waypost.store.calls import Budget, Calls
from waypost.store.entries import Checkpoint, Entry, decode
from waypost.store.fetching import read_pieces
from waypost.store.format import Mode, journal_of
from waypost.store.group import Group
from waypost.store.handle import WritingHandle
from waypost.store.incoming import Piece
from waypost.store.info import CheckpointInfo
from waypost.store.manifest import Manifest
from waypost.store.reading import Reading
from waypost.store.resuming import BASE, Resuming, Which
from waypost.store.retention import Retention
from waypost.store.saver import Job
from waypost.store.seams import InTurn, Seams
from waypost.store.sizes import SIZES, Sizes
from waypost.store.sources import Source, look
from waypost.store.start import IssuedFences, Writer
from waypost.store.start_point import StartPoint
from waypost.store.waiting import inline

BUDGET = Budget(seconds=20.0)
TOGETHER = Budget(seconds=60.0, first_pause=0.05, longest_pause=1.0)
_numbers = itertools.count(1)

Fault = Callable[[Callable[[], None]], None]


def lose_answer(execute: Callable[[], None]) -> None:
    """The server carries it out; the answer gets lost."""
    execute()
    raise UnreachableError("connection reset by peer")


def fail(execute: Callable[[], None]) -> None:
    """The request never arrives."""
    raise UnreachableError("connection refused")


def refuse(execute: Callable[[], None]) -> None:
    """The server says no."""
    raise RefusedError("403 Forbidden, AccessDenied")


class SteppedBackend:
    """Objects in memory; `plan` decides what happens to the next requests."""

    mode = Mode.CONDITIONAL

    def __init__(self) -> None:
        self.uri = f"stepped://{next(_numbers)}"
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.hanging: list[Callable[[], None]] = []
        self.before: Callable[[str, str], None] = lambda operation, key: None
        """Called ahead of every request: where another process takes its step."""
        self._plans: collections.deque[tuple[str, str, Fault]] = collections.deque()

    def plan(self, operation: str, key: str, *faults: Fault) -> None:
        """The next requests of this operation on keys that start with `key` meet these faults, one each."""
        self._plans.extend((operation, key, fault) for fault in faults)

    def hang(self, execute: Callable[[], None]) -> None:
        """A fault: the request stays in the network until `deliver`; its client hears nothing."""
        self.hanging.append(execute)
        raise UnreachableError("timed out")

    def deliver(self) -> list[Exception | None]:
        """The server carries out what hangs in the network; the answers reach nobody."""
        answers: list[Exception | None] = []
        while self.hanging:
            try:
                self.hanging.pop(0)()
                answers.append(None)
            except ExistsError as error:
                answers.append(error)
        return answers

    def deliver_one(self) -> None:
        """The server carries out the last of what hangs in the network."""
        with contextlib.suppress(ExistsError):
            self.hanging.pop()()

    def put_new(self, key: str, data: bytes) -> None:
        def execute() -> None:
            if key in self.objects:
                raise ExistsError(f"{key} exists")
            self.objects[key] = bytes(data)

        self._request("put_new", key, execute)

    def put(self, key: str, data: bytes | memoryview) -> None:
        kept = bytes(data)
        self._request("put", key, lambda: self.objects.__setitem__(key, kept))

    def get(self, key: str, limit: int) -> bytes:
        self._request("get", key, lambda: None)
        if key not in self.objects:
            raise AbsentError(key)
        if len(self.objects[key]) > limit:
            raise TooLargeError(f"it has {len(self.objects[key])} bytes")
        return self.objects[key]

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        take(memoryview(self.part(key, start, length)))

    def part(self, key: str, start: int, length: int) -> bytes:
        """What the server sends of an object."""
        self._request("read_range", key, lambda: None)
        if key not in self.objects:
            raise AbsentError(key)
        return self.objects[key][start : start + length]

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        self._request("list", prefix, lambda: None)
        found = [key for key in self.objects if key.startswith(prefix) and "/" not in key.removeprefix(prefix)]
        return sorted(key for key in found if key > start_after)[:limit]

    def delete(self, key: str) -> None:
        self._request("delete", key, lambda: self.objects.__delitem__(key) if key in self.objects else None)

    def close(self) -> None:
        pass

    def _request(self, operation: str, key: str, execute: Callable[[], None]) -> None:
        self.before(operation, key)
        self.requests.append((operation, key))
        for index, (wanted, prefix, fault) in enumerate(self._plans):
            if wanted == operation and key.startswith(prefix):
                del self._plans[index]
                fault(execute)
                return
        execute()

    # --- What stands in the store ------------------------------------------------------------------------------
    def entry(self, sequence: int) -> Entry:
        return decode(self.objects[keys.log_key(sequence)], sequence)

    def log(self) -> Sequence[str]:
        """The types of the entries, oldest first."""
        numbers = sorted(number for key in self.objects if (number := keys.log_sequence(key)) is not None)
        return [self.entry(number).type for number in numbers]

    def corrupt(self, key: str) -> None:
        """Change one byte in the middle."""
        content = bytearray(self.objects[key])
        content[len(content) // 2] ^= 1
        self.objects[key] = bytes(content)

    def rewrite(self, sequence: int, **changes: Any) -> None:
        """Replace an entry by a valid one with other members, as another writer might have put it."""
        self.objects[keys.log_key(sequence)] = dataclasses.replace(self.entry(sequence), **changes).encode()

    def packs(self) -> Sequence[str]:
        return sorted(key for key in self.objects if key.startswith(keys.PACKS))


class Unconditional(SteppedBackend):
    """A place that doesn't know the condition, and says so."""

    mode = Mode.SCOPED

    def put_new(self, key: str, data: bytes) -> None:
        self._request("put_new", key, lambda: None)
        raise UnsupportedError("501 Not Implemented, NotImplemented")


class Overwriting(SteppedBackend):
    """A place that ignores the condition, and says nothing."""

    mode = Mode.SCOPED

    def put_new(self, key: str, data: bytes) -> None:
        self.put(key, data)


@dataclasses.dataclass
class World:
    """Time that passes only by sleeping, nonces that are numbers, races run one after the other."""

    time: float = 0.0
    nonces: itertools.count[int] = dataclasses.field(default_factory=itertools.count)
    name: str = dataclasses.field(default_factory=lambda: str(next(_numbers)))
    """Its nonces follow from it, and so does the order of scopes that start at once."""

    def seams(self) -> Seams:
        return Seams(
            nonce=lambda: blake3(f"{self.name}/{next(self.nonces)}".encode()).hexdigest()[:32],
            now=lambda: datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC) + datetime.timedelta(seconds=self.time),
            clock=lambda: self.time,
            sleep=self.sleep,
            chance=lambda: 1.0,
            at_once=_one_after_the_other,
            in_time=inline,
            pool=lambda most, name: InTurn(),
        )

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def _one_after_the_other(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        action()


class Process:
    """One process of an attempt, without its thread: it saves in the caller's, so that a test owns every step."""

    def __init__(
        self,
        backend: SteppedBackend,
        attempt: int = 1,
        pod: str | None = None,
        budget: Budget = BUDGET,
        sizes: Sizes = SIZES,
        world: World | None = None,
        issued: IssuedFences | None = None,
        starts_from: tuple[SteppedBackend, int | None] | None = None,
        *,
        group: Group | None = None,
        together: Budget = TOGETHER,
        retention: Retention | None = None,
    ) -> None:
        """`issued` are the fences of another process of the machine; the same by default."""
        self.backend = backend
        self.world = world or World()
        self.told: list[CheckpointInfo] = []
        self.calls = Calls(backend, self.world.seams(), budget)
        start_point = None
        if starts_from is not None:
            start_point = StartPoint(Calls(starts_from[0], self.world.seams(), budget), starts_from[1])
        writer = Writer(attempt, pod, group)
        self.handle = WritingHandle(
            self.calls,
            writer,
            lambda: None,
            lambda info, save: self.told.append(info),
            budget,
            issued,
            sizes,
            start_point,
            together,
            retention,
        )
        self.resuming = Resuming(self.calls, self.handle.log.journal.through, self.handle, start_point, lambda: None)
        self.handle.saver.stop()

    @property
    def log(self) -> Any:
        return self.handle.log

    def save(self, data: Source, step: int | None = None) -> CheckpointInfo:
        job: Job[CheckpointInfo] = Job(look(data), step, {}, {}, keeps_turn=True, ordinal=self.turn())
        return self.handle._save(job)

    def tidy(self) -> None:
        """All that the saver's thread does between saves."""
        while self.handle._tidy():
            pass

    def complete(self) -> None:
        self.handle._end_log(self.turn())

    def turn(self) -> int | None:
        """As `WritingHandle.turn`, without a saver to wait for."""
        return None if self.handle.ranks is None else self.handle.ranks.next_ordinal()

    def restore(self, first: int | None = None, *, strict: bool = False) -> tuple[int, bytes] | None:
        """The sequence and content of what a restore gives."""
        reading, ranks, ordinal = Reading(self.handle.log.journal, self.handle.log), self.handle.ranks, self.turn()
        if ranks is None or ordinal is None:
            return deliver(
                self.calls, reading, first, strict=strict, told=lambda entry: self.handle.resumed(entry.sequence)
            )

        def own_part(number: int | None) -> tuple[int, tuple[int, bytes]] | None:
            delivered = reading.deliver(self._own_part, number)
            return None if delivered is None else (delivered[0].sequence, (delivered[0].sequence, delivered[1]))

        agreed = ranks.agree(own_part, ordinal, lambda: None)
        if agreed is not None:
            self.handle.resumed(agreed[0])
        return agreed

    def _own_part(self, entry: Checkpoint, whole: Manifest) -> bytes:
        part = parts.chosen(entry, whole, None, self.handle.writer.group)
        return b"".join(contents(self.calls, entry, part))

    def resume(self, which: Which = BASE) -> tuple[str, int, bytes] | None:
        """Store, sequence and content of what the program gets to go on from."""

        def take(calls: Calls, entry: Checkpoint, manifest: Any) -> bytes:
            return b"".join(contents(calls, entry, manifest))

        delivered = self.resuming.deliver(take, which)
        if delivered is None:
            return None
        return delivered.info.origin or self.backend.uri, delivered.info.sequence, delivered.value


def read(backend: SteppedBackend, first: int | None = None, *, strict: bool = False) -> tuple[int, bytes] | None:
    """What an outside reader's restore gives."""
    calls = Calls(backend, World().seams(), BUDGET)
    return deliver(calls, Reading(journal_of(backend.mode, calls)), first, strict=strict)


def deliver(
    calls: Calls,
    reading: Reading,
    first: int | None,
    *,
    strict: bool,
    told: Callable[[Checkpoint], object] = lambda entry: None,
) -> tuple[int, bytes] | None:
    def take(entry: Checkpoint, manifest: Any) -> bytes:
        return b"".join(contents(calls, entry, manifest))

    delivered = reading.deliver(take, first, strict=strict)
    if delivered is None:
        return None
    told(delivered[0])
    return delivered[0].sequence, delivered[1]


def contents(calls: Calls, entry: Checkpoint, manifest: Manifest) -> Sequence[bytes]:
    """What is restored, node by node: nothing for folders and links."""
    files = [bytearray(node.size) for node in manifest.nodes]

    def take(piece: Piece) -> None:
        files[piece.node][piece.offset : piece.offset + len(piece.data)] = piece.data

    read_pieces(calls, entry, manifest, take)
    return [bytes(file) for file in files]


def large(tag: bytes) -> bytes:
    """Content that needs a pack."""
    return tag * (keys.MAX_INLINE // len(tag) + 1)


def format_file(mode: Mode = Mode.CONDITIONAL) -> bytes:
    return json.dumps({"format": 1, "mode": mode}).encode()
