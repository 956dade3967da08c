"""How an attempt begins: find the end of the log, refuse to disturb, take the store over by a FENCE.

The LIST is only a starting point, for it may lag; the end is found by the FENCE itself, which the store accepts only
behind the last entry. What was read on this walk is the state restored from: no second LIST (rule 4).
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Final

from waypost.errors import AttemptRefusedError, CompletedError, CorruptCheckpointError, StoreDeletedError
from waypost.log import logger
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import Checkpoint, Complete, Entry, Fence
from waypost.store.log import lament, put_entry, read_entry, read_forward
from waypost.store.state import State

_LIST_PAGE: Final = 16


@dataclasses.dataclass(frozen=True)
class Writer:
    """Who wants to write."""

    attempt: int
    pod: str | None
    """UID of its pod; None outside a pod."""


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


def survey(calls: Calls) -> State:
    """The state of the log as a LIST finds it, without writing anything.

    Raises CorruptCheckpointError when there are entries and none can be read: that is not "nothing saved yet".
    """
    newest = sequence = _listed_after(calls, "")
    if newest is None:
        return State()
    readable: list[Entry] = []
    while sequence is not None:
        try:
            entry = read_entry(calls, sequence)
        except UnreadableEntryError as error:
            lament(error)
            sequence = sequence - 1 or None
            continue
        if entry is None:
            sequence = _below_gap(calls, sequence)
            continue
        readable.append(entry)
        if isinstance(entry, (Fence, Checkpoint, Complete)):
            break
        sequence = sequence - 1 or None
    if sequence is None:
        raise CorruptCheckpointError(
            f"no writer's entry can be read in the log of {calls.backend.uri} (its newest is number {newest}): this is "
            "no checkpoint store, or it was damaged as a whole; look at its log/ folder, or use another URI"
        )
    state = State()
    for entry in reversed(readable):
        state = state.after(entry)
    return state if state.last_seen >= newest else state.after_unreadable(newest)


def take_over(calls: Calls, writer: Writer, issued: IssuedFences) -> State:
    """Append this attempt's FENCE and return the state right behind it; nothing is appended if it may not start.

    Raises AttemptRefusedError, CompletedError, StoreDeletedError, CorruptCheckpointError, StorageError.
    """
    state = survey(calls)
    nonce = calls.seams.nonce()
    issued.add(nonce)
    while True:
        _require_free(calls, state, writer, issued)
        sequence = state.last_seen + 1
        fence = Fence(
            sequence=sequence,
            attempt=writer.attempt,
            fence=sequence,
            nonce=nonce,
            time=calls.seams.now(),
            live=state.live,
            pinned=state.pinned,
            pod=writer.pod,
        )
        try:
            standing = put_entry(calls, fence)
        except UnreadableEntryError as error:
            lament(error)
            state = state.after_unreadable(sequence)
        else:
            state = state.after(standing)
            if standing.nonce == nonce:
                return state
        state, _ = read_forward(calls, state)


def _listed_after(calls: Calls, start_after: str) -> int | None:
    """The newest entry by LIST. Keys that are no entries (a directory marker sorts first) are passed over."""
    while page := calls.list("list the log of", keys.LOG, start_after, _LIST_PAGE):
        for key in page:
            sequence = keys.log_sequence(key)
            if sequence is not None:
                return sequence
        start_after = page[-1]
    return None


def _below_gap(calls: Calls, missing: int) -> int | None:
    """A number below an existing entry is missing: where the log goes on, further down."""
    logger.error(
        "log entry %d of %s is missing, though newer ones stand: something deletes from the store (an expiry rule, a "
        "clean-up by hand). Saved progress isn't safe there until that is stopped",
        missing,
        calls.backend.uri,
    )
    return _listed_after(calls, keys.log_key(missing))


def _require_free(calls: Calls, state: State, writer: Writer, issued: IssuedFences) -> None:
    """Raise unless this writer may append its FENCE behind `state`."""
    uri = calls.backend.uri
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
    if state.highest_attempt == writer.attempt and not _same_place(calls, state, writer, issued):
        raise AttemptRefusedError(
            f"attempt {writer.attempt} may not start on {uri}: it has been started already, by another pod or "
            f"process. Go on with attempt {writer.attempt + 1}",
            writer.attempt,
        )


def _same_place(calls: Calls, state: State, writer: Writer, issued: IssuedFences) -> bool:
    """Whether the newest FENCE comes from this very pod, or from this very process."""
    try:
        fence = read_entry(calls, state.fence)
    except UnreadableEntryError:
        return False
    if not isinstance(fence, Fence):
        return False
    return fence.nonce in issued or (writer.pod is not None and fence.pod == writer.pod)
