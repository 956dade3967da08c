"""Several ranks on one store, each a process of its own that does one request when it is its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tests.unit.store.interleaving import Actor
from tests.unit.store.stepped import BUDGET, Process, SteppedBackend, World, contents
from waypost.errors import WaypostError
from waypost.store.calls import Calls
from waypost.store.entries import Checkpoint
from waypost.store.fetching import read_manifest
from waypost.store.group import Group
from waypost.store.tree import Kind


class Ranks:
    """The processes of one execution; what they do together they do in turns, one request each."""

    def __init__(
        self, backend: SteppedBackend, size: int = 2, *, token: str = "a", attempt: int = 1, pod: str | None = "pod"
    ) -> None:
        self.backend = backend
        groups = [Group(token, rank, size) for rank in range(size)]
        self.processes: list[Process] = together(
            backend, [partial(Process, backend, attempt, pod, group=group) for group in groups]
        )

        for process in self.processes:
            if isinstance(process, WaypostError):
                raise process

    def __getitem__(self, rank: int) -> Process:
        return self.processes[rank]

    def each(self, act: Callable[[Process, int], object]) -> list[Any]:
        """What each rank's act gives, or its error."""
        return together(self.backend, [partial(act, process, rank) for rank, process in enumerate(self.processes)])

    def save(self, contents: list[bytes], step: int | None = None) -> list[Any]:
        return self.each(lambda process, rank: process.save(contents[rank], step))


def together(backend: SteppedBackend, acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run these in turns to their ends: their results, or their errors in place of them."""
    results: list[Any] = [None] * len(acts)

    def life(number: int) -> None:
        try:
            results[number] = acts[number]()
        except WaypostError as error:
            results[number] = error

    actors = [Actor(partial(life, number)) for number in range(len(acts))]
    by_thread = {actor.thread: actor for actor in actors}

    def before(operation: str, key: str) -> None:
        if (me := by_thread.get(threading.current_thread())) is not None:
            me.pause()

    backend.before = before
    try:
        while not all(actor.done for actor in actors):
            for actor in actors:
                if not actor.done:
                    actor.step()
    finally:
        backend.before = lambda operation, key: None
    for actor in actors:
        if actor.error is not None:
            raise actor.error
    return results


def folders(backend: SteppedBackend, sequence: int) -> dict[str, bytes]:
    """What a checkpoint holds, file by file."""
    calls = Calls(backend, World().seams(), BUDGET)
    entry = backend.entry(sequence)
    assert isinstance(entry, Checkpoint)
    whole = read_manifest(calls, entry)
    found = zip(whole.nodes, contents(calls, entry, whole), strict=True)
    return {node.path.decode(): content for node, content in found if node.kind is Kind.FILE}
