"""How a rank above 0 begins: it makes no FENCE, but joins the one that its own rank 0 has put.

Rank 0 takes the store over for the whole group. The others wait for the newest FENCE that carries their token, and
go by what it says: its sequence is their fence, and what is live right behind it is what all ranks restore from.

Joining means to take the rank's *seat* under that fence, a key put only if absent. So under one fence each rank is
one process and no other, even if two executions carry the same token: who finds the seat taken looks at the fence of
an execution that is over, or is a single rank that was started again and can't rejoin; it waits for a newer FENCE.
"""

from __future__ import annotations

from waypost.backends.protocol import UnreachableError
from waypost.errors import ConfigurationError, StorageError
from waypost.store import keys, parts
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.entries import Fence
from waypost.store.format import journal_of, known_mode
from waypost.store.group import Group
from waypost.store.journal import Journal
from waypost.store.parts import Call, Part
from waypost.store.start import Writer, require_current
from waypost.store.state import State


def require_conditional(journal: Journal) -> ConditionalJournal:
    """The log, if several ranks can write to it. Raises ConfigurationError where the place has no conditional writes.

    There a rank's seat couldn't be taken once only, and the others couldn't follow the log by number.
    """
    if isinstance(journal, ConditionalJournal):
        return journal
    raise ConfigurationError(
        f"several ranks can't save to {journal.calls.backend.uri} together: the place has no conditional writes. Use "
        "another, or save from rank 0 alone, without group="
    )


def join(calls: Calls, writer: Writer, group: Group, nonce: str) -> tuple[ConditionalJournal, State]:
    """Wait for this group's FENCE, take this rank's seat under it, and return the log and its state right behind it.

    `nonce` names this process. Raises StorageError when the budget of `calls` ends, AttemptRefusedError when a higher
    attempt has the store, CompletedError, StoreDeletedError.
    """
    patience, problem = calls.patience(), "it hasn't opened the store"
    while (mode := known_mode(calls)) is None:
        if not patience.pause():
            raise _alone(calls, group, f"{problem} ({patience.spent})")
    journal = require_conditional(journal_of(mode, calls))
    state = journal.survey()
    tried: set[int] = set()
    while True:
        state, _ = journal.read_forward(state)
        require_current(calls.backend.uri, state, writer)
        fence = journal.fence_at(state.fence) if state.fence else None
        if fence is not None and fence.sequence not in tried:
            tried.add(fence.sequence)
            mismatch = _mismatch(fence, writer, group)
            if mismatch is None:
                if _take_seat(calls, fence, group, nonce):
                    return journal, State().after(fence)
                mismatch = (
                    f"under its fence {fence.sequence} rank {group.rank} is another process, and one can't rejoin"
                )
            problem = mismatch
        if not patience.pause():
            raise _alone(calls, group, f"{problem} ({patience.spent})")


def _alone(calls: Calls, group: Group, problem: str) -> StorageError:
    return StorageError(
        f"join rank 0 of the group {group.token!r} in",
        calls.backend.uri,
        problem,
        advice="Every rank has to open the same store as the same attempt, and all have to be started together",
    )


def _mismatch(fence: Fence, writer: Writer, group: Group) -> str | None:
    """Why this FENCE isn't the one of this rank's own rank 0; None if it is."""
    where = f"the newest FENCE (log entry {fence.sequence})"
    if fence.group != group.token:
        owner = "no group" if fence.group is None else f"the group {fence.group!r}"
        return f"it hasn't opened the store: {where} is of {owner}"
    if (fence.attempt, fence.pod) != (writer.attempt, writer.pod):
        return f"{where} is of attempt {fence.attempt} in pod {fence.pod}, not {writer.attempt} in pod {writer.pod}"
    if fence.ranks != group.size:
        return f"{where} speaks of {fence.ranks} ranks, and this process was told {group.size}"
    return None


def _take_seat(calls: Calls, fence: Fence, group: Group, nonce: str) -> bool:
    """Whether this process is now the one that is this rank under this fence."""
    key = keys.part_key(fence.sequence, parts.JOINING, group.rank)
    seat = Part(
        fence=fence.sequence,
        ordinal=parts.JOINING,
        rank=group.rank,
        ranks=group.size,
        call=Call.JOIN,
        nonce=nonce,
    ).encode()
    doing, patience = f"take the seat of rank {group.rank} in", calls.patience()
    while True:
        try:
            if calls.put_new(doing, key, seat):
                return True
        except UnreachableError as error:
            cause = error.cause
        else:
            cause = "the store says that the seat is taken, but doesn't return it"
        standing = calls.get(doing, key, keys.MAX_ENTRY)
        if standing is not None:
            return standing == seat
        if not patience.pause():
            raise StorageError(doing, calls.backend.uri, f"{cause} ({patience.spent})")
