"""A place without conditional writes that holds an empty store, what is in its log, and somebody who acts meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.store.stepped import (
    Overwriting,
    format_file,
)
from waypost.store import keys
from waypost.store.entries import decode
from waypost.store.format import Mode
from waypost.store.scopes import placed


def scoped_place() -> Overwriting:
    """A new one."""
    made = Overwriting()
    made.objects[keys.FORMAT_KEY] = format_file(Mode.SCOPED)
    return made


def entries(place: Overwriting) -> list[tuple[int, str, int]]:
    """Attempt, type and number of everything in the log, oldest first."""
    found = []
    for key in sorted(place.objects, reverse=True):
        if (at := placed(key)) is not None:
            entry = decode(place.objects[key], at[1])
            found.append((entry.attempt, entry.type, entry.sequence))
    return found


def once(place: Overwriting, operation: str, prefix: str, act: Callable[[], object]) -> None:
    """Another process acts right before the next request of this kind."""

    def before(happening: str, key: str) -> None:
        if happening == operation and key.startswith(prefix):
            place.before = lambda operation, key: None
            act()

    place.before = before
