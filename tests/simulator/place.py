"""The place where the bytes live: objects in memory, a network in which requests hang, and a door for each process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeVar

from tests.simulator.actors import Actor, Fate
from waypost.backends.protocol import AbsentError, ExistsError, Take, TooLargeError, UnreachableError

LOG = "log/"
OTHER: Final = "from/"
"""Ahead of the keys of the store that a task starts from, wherever requests and damages are named."""
T = TypeVar("T")


class Hanging(NamedTuple):
    """A write in the network."""

    operation: str
    key: str
    carry_out: Callable[[], object]


class Witness(Protocol):
    """Sees everything that happens to the objects."""

    def created(self, key: str, data: bytes) -> None:
        """`key` has just come to be."""

    def written(self, key: str, before: bytes | None, data: bytes) -> None:
        """`key` was written unconditionally."""

    def deleted(self, key: str) -> None:
        """`key`, which existed, is gone."""


class Place:
    """Objects, and what is done to them."""

    def __init__(
        self, witness: Witness, name: str = "", hanging: list[Hanging] | None = None, *, conditional: bool = True
    ) -> None:
        """`hanging` is the network, if this isn't the only place; `conditional`: whether it heeds conditions."""
        self.name, self._conditional = name, conditional
        self.objects: dict[str, bytes] = {}
        self.hanging: list[Hanging] = [] if hanging is None else hanging
        self.entries = 0
        """How many the log has."""
        self._witness = witness

    def take_over(self, other: Place) -> None:
        """Begin with what another place holds."""
        self.objects.update(other.objects)
        self.entries = other.entries

    def put_new(self, key: str, data: bytes) -> bool:
        if not self._conditional:
            return self.put(key, data)
        if key in self.objects:
            return False
        self.objects[key] = data
        self.entries += key.startswith(LOG)
        self._witness.created(key, data)
        return True

    def put(self, key: str, data: bytes) -> bool:
        before = self.objects.get(key)
        self.objects[key] = data
        self.entries += before is None and key.startswith(LOG)
        self._witness.written(key, before, data)
        return True

    def delete(self, key: str) -> bool:
        if self.objects.pop(key, None) is not None:
            self._witness.deleted(key)
        return True

    def damage(self, key: str, *, lost: bool) -> None:
        """Lose an object, or alter a byte of it, behind everybody's back."""
        data = self.objects.pop(key)
        if not lost:
            middle = len(data) // 2
            self.objects[key] = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]

    def list(self, prefix: str, start_after: str, limit: int, lag: int = 0) -> list[str]:
        start = len(prefix)
        found = sorted(
            key for key in self.objects if key > start_after and key.startswith(prefix) and "/" not in key[start:]
        )
        if lag and not start_after:
            hidden = [key for key in found if key.endswith(".json")][:lag]
            found = [key for key in found if key not in hidden]
        return found[:limit]


class Door:
    """The place as one process sees it: a `Backend` whose every request waits for its turn and meets its fate."""

    def __init__(self, place: Place, actor: Actor) -> None:
        self._place, self._actor = place, actor
        self.uri = f"simulated://{place.name}"
        self.shown = -1
        """How many log entries the first LIST showed, since this was last set to -1."""

    def put_new(self, key: str, data: bytes) -> None:
        if not self._write("put_new", key, lambda: self._place.put_new(key, data)):
            raise ExistsError(f"{key} exists")

    def put(self, key: str, data: bytes | memoryview) -> None:
        kept = bytes(data)
        self._write("put", key, lambda: self._place.put(key, kept))

    def delete(self, key: str) -> None:
        self._write("delete", key, lambda: self._place.delete(key))

    def get(self, key: str, limit: int) -> bytes:
        data = self._read("get", key, lambda _: self._place.objects.get(key))
        if data is None:
            raise AbsentError(key)
        if len(data) > limit:
            raise TooLargeError(f"it has {len(data)} bytes")
        return data

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        data = self._read("read_range", key, lambda _: self._place.objects.get(key))
        if data is None:
            raise AbsentError(key)
        take(memoryview(data)[start : start + length])

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        def show(fate: Fate) -> list[str]:
            lag = 1 if fate is Fate.LAGGED_1 else 2 if fate is Fate.LAGGED_2 else 0
            if self.shown < 0:
                self.shown = max(0, self._place.entries - lag)
            return self._place.list(prefix, start_after, limit, lag)

        return self._read("list", prefix, show)

    def close(self) -> None:
        pass

    def _read(self, operation: str, key: str, look: Callable[[Fate], T]) -> T:
        def ask() -> T:
            fate = self._actor.turn(operation, self._place.name + key)
            if fate is Fate.FAILED:
                raise UnreachableError("connection refused")
            return look(fate)

        return self._actor.learn(ask)

    def _write(self, operation: str, key: str, carry_out: Callable[[], bool]) -> bool:
        def ask() -> bool:
            fate = self._actor.turn(operation, self._place.name + key)
            if fate is Fate.ANSWERED:
                return carry_out()
            if fate is Fate.FAILED:
                raise UnreachableError("connection refused")
            if fate is Fate.LOST:
                carry_out()
                raise UnreachableError("connection reset by peer")
            self._place.hanging.append(Hanging(operation, self._place.name + key, carry_out))
            if fate is Fate.TWICE:
                return carry_out()
            raise UnreachableError("timed out")

        return self._actor.learn(ask)
