"""What tests of retention look at: entries, what is live, which requests were made; and a bystander's PRUNE."""

from __future__ import annotations

from typing import Any

from tests.unit.store.stepped import SteppedBackend, World
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.entries import Checkpoint, Entry
from waypost.store.retention import Retention
from waypost.store.sequences import NOTHING, Sequences

ONE = Retention(keep_last=1)
TWO = Retention(keep_last=2)


def checkpoint(backend: SteppedBackend, sequence: int) -> Checkpoint:
    entry = backend.entry(sequence)
    assert isinstance(entry, Checkpoint)
    return entry


def live(backend: SteppedBackend) -> list[int]:
    """What a reader finds live, oldest first."""
    return sorted(ConditionalJournal(Calls(backend, World().seams())).survey().live)


def put(backend: SteppedBackend, kind: type[Entry], live: Sequences, pinned: Sequences = NOTHING, **more: Any) -> None:
    """Another process appends this entry, without a fence."""
    numbers = [number for key in backend.objects if (number := keys.log_sequence(key)) is not None]
    sequence = max(numbers) + 1
    seams = World().seams()
    entry = kind(
        sequence=sequence,
        attempt=0,
        fence=0,
        nonce=f"another-{sequence}",
        time=seams.now(),
        live=live,
        pinned=pinned,
        **more,
    )
    backend.objects[keys.log_key(sequence)] = entry.encode()


def requests(backend: SteppedBackend, since: int) -> list[str]:
    return [f"{operation} {key.partition('/')[0]}" for operation, key in backend.requests[since:]]
