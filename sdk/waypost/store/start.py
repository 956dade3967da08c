"""Who may start: a writer is judged by what the log knows, before it appends anything.

A refusal costs nobody anything: it appends nothing, names the highest attempt known, and the operator goes on with the
next one without counting a failure (rule 4).
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

from waypost.errors import AttemptRefusedError, CompletedError, CorruptCheckpointError, StoreDeletedError
from waypost.store.entries import Fence
from waypost.store.group import Group
from waypost.store.sequences import MAX_SEQUENCE
from waypost.store.state import State


@dataclasses.dataclass(frozen=True)
class Writer:
    """Who wants to write."""

    attempt: int
    pod: str | None
    """UID of its pod; None outside a pod."""
    group: Group | None = None
    """If this process is one of several that write together."""

    def __str__(self) -> str:
        return f"attempt {self.attempt}" + ("" if self.group is None else f", {self.group}")


class IssuedFences:
    """The nonces of FENCEs that this process issued: it may take over from itself."""

    def __init__(self) -> None:
        self._nonces: set[str] = set()
        self._lock = threading.Lock()

    def add(self, nonce: str) -> None:
        """Remember a nonce before it is sent."""
        with self._lock:
            self._nonces.add(nonce)

    def __contains__(self, nonce: str) -> bool:
        with self._lock:
            return nonce in self._nonces


def require_free(
    uri: str, state: State, writer: Writer, issued: IssuedFences, newest_fence: Callable[[], Fence | None]
) -> None:
    """Raise unless this writer may append its FENCE behind `state`.

    `newest_fence` is asked only where it matters: for the FENCE of the attempt that holds the store, None if it can't
    be read. Raises StoreDeletedError, CompletedError, AttemptRefusedError; CorruptCheckpointError when what can't be
    read may have been the only checkpoint, for behind a FENCE that knows of none, nobody would notice any more.
    """
    require_current(uri, state, writer)
    if state.highest_attempt == writer.attempt and not _same_place(newest_fence(), writer, issued):
        raise AttemptRefusedError(
            f"attempt {writer.attempt} may not start on {uri}: it has been started already, by another pod or "
            f"process. Go on with attempt {writer.attempt + 1}",
            writer.attempt,
        )
    if state.last_seen >= MAX_SEQUENCE:
        raise CorruptCheckpointError(
            f"the log of {uri} has no number left: its last entry is number {state.last_seen}, which no task can have "
            "reached. Use another URI"
        )
    state.require_certain(uri)


def require_current(uri: str, state: State, writer: Writer) -> None:
    """Raise if the log knows of an end or of a higher attempt."""
    if state.deleted:
        raise StoreDeletedError(f"the store {uri} was deleted; a new task needs another URI")
    if state.completed:
        raise CompletedError(f"the task of {uri} is complete already: its log has ended with COMPLETE")
    if state.highest_attempt > writer.attempt:
        raise AttemptRefusedError(
            f"attempt {writer.attempt} may not start on {uri}: attempt {state.highest_attempt} has taken the store "
            f"over. Go on with attempt {state.highest_attempt + 1}",
            state.highest_attempt,
        )


def _same_place(fence: Fence | None, writer: Writer, issued: IssuedFences) -> bool:
    """Whether the newest FENCE comes from this very pod, or from this very process."""
    if fence is None:
        return False
    return fence.nonce in issued or (writer.pod is not None and fence.pod == writer.pod)
