"""The log where the place can create a key only if it is absent: one key per number, and one winner per key.

That one conditional PUT is the commit and the fence at once: a writer that was cut off finds somebody else's entry
where its own should go. Rules 3 and 4 of docs/format.md ("Starting to write", "Appending").

The LIST is only a starting point, for it may lag; the end is found by the FENCE itself, which the store accepts only
behind the last entry. What was read on this walk is the state restored from: no second LIST.
"""

from __future__ import annotations

import functools
from typing import Final

from waypost.backends.protocol import NotNowError, UnreachableError
from waypost.errors import CorruptCheckpointError, FencedError, StorageError, StoreDeletedError
from waypost.log import logger
from waypost.store import keys
from waypost.store.calls import Calls, Patience
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import DELETED_ATTEMPT, Checkpoint, Complete, Entry, Fence
from waypost.store.journal import LISTING, lament, mixed_modes, read_entry
from waypost.store.scopes import placed
from waypost.store.sequences import NOTHING
from waypost.store.start import IssuedFences, Writer, require_free
from waypost.store.state import State

_LIST_PAGE: Final = 16


class ConditionalJournal:
    """A log of entries `log/<inverted sequence>.json`, each put only if its number is free."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def through(self, calls: Calls) -> ConditionalJournal:
        """The same log, as other calls to the same store reach it."""
        return ConditionalJournal(calls)

    def read(self, sequence: int) -> Entry | None:
        """The entry at this number, None when there is none."""
        return read_entry(self.calls, keys.log_key(sequence), sequence)

    def key(self, sequence: int) -> str:
        """The key of the entry at this number."""
        return keys.log_key(sequence)

    def survey(self) -> State:
        """The state of the log as a LIST finds it: no FENCE asked for it, so it may be old."""
        newest = sequence = self._listed_after("")
        if newest is None:
            return State()
        readable: list[Entry] = []
        while sequence is not None:
            try:
                entry = self.read(sequence)
            except UnreadableEntryError as error:
                lament(error)
                sequence = sequence - 1 or None
                continue
            if entry is None:
                again = self._listed_after("") if sequence == newest else None
                if again is not None and again != newest:
                    newest = sequence = again  # misread: a FENCE behind a gap would leave a zombie's next number free
                else:
                    sequence = self._below_gap(sequence)
                continue
            readable.append(entry)
            if isinstance(entry, (Fence, Checkpoint, Complete)):
                break
            sequence = sequence - 1 or None
        if sequence is None:
            raise CorruptCheckpointError(
                f"no writer's entry can be read in the log of {self.calls.backend.uri} (its newest is number "
                f"{newest}): this is no checkpoint store, or it was damaged as a whole; look at its log/ folder, or "
                "use another URI"
            )
        state = State()
        for entry in reversed(readable):
            state = state.after(entry)
        return state if state.last_seen >= newest else state.after_unreadable(newest)

    def look_again(self) -> State:
        """The state at the very end: where a LIST points to, and on from there by number."""
        state, _ = self.read_forward(self.survey())
        return state

    def still_held(self, state: State) -> State:
        """The state at the very end; raises FencedError when anything of a later writer stands behind `state`.

        Its FENCE may be the one entry that can't be read: what it appended since tells as much.
        """
        uri, holder = self.calls.backend.uri, state
        state, met = self.read_forward(state)
        for entry in met:
            if entry.fence > holder.fence:
                if state.deleted:
                    raise StoreDeletedError(f"the store {uri} was deleted (log entry {entry.sequence})")
                raise FencedError(
                    f"attempt {holder.highest_attempt} (fence {holder.fence}) of {uri} was overtaken by attempt "
                    f"{entry.attempt} (log entry {entry.sequence}) while it was restoring; it has to end"
                )
        return state

    def take_over(self, writer: Writer, issued: IssuedFences) -> State:
        """Append this attempt's FENCE behind the last entry, and return the state right behind it."""
        state = self.survey()
        nonce = self.calls.seams.nonce()
        issued.add(nonce)
        while True:
            newest_fence = functools.partial(self.fence_at, state.fence)
            require_free(self.calls.backend.uri, state, writer, issued, newest_fence)
            sequence = state.last_seen + 1
            fence = Fence(
                sequence=sequence,
                attempt=writer.attempt,
                fence=sequence,
                nonce=nonce,
                time=self.calls.seams.now(),
                live=state.live,
                pinned=state.pinned,
                pod=writer.pod,
                group=None if writer.group is None else writer.group.token,
                ranks=1 if writer.group is None else writer.group.size,
            )
            try:
                standing = self.put(fence)
            except UnreadableEntryError as error:
                lament(error)
                state = state.after_unreadable(sequence)
            else:
                state = state.after(standing)
                if standing.nonce == nonce:
                    return state
            state, _ = self.read_forward(state)

    def end(self) -> str:
        """Append the FENCE of a deleted store unless it stands, whoever holds the log; return its key."""
        try:
            state = self.look_again()
        except CorruptCheckpointError:
            state, _ = self.read_forward(State().after_unreadable(self._listed_after("") or 0))
        nonce = self.calls.seams.nonce()
        while not state.deleted:
            sequence = state.last_seen + 1
            fence = Fence(
                sequence=sequence,
                attempt=DELETED_ATTEMPT,
                fence=sequence,
                nonce=nonce,
                time=self.calls.seams.now(),
                live=NOTHING,
                pinned=NOTHING,
                pod=None,
            )
            try:
                state = state.after(self.put(fence))
            except UnreadableEntryError as error:
                lament(error)
                state = state.after_unreadable(sequence)
        return keys.log_key(state.last_seen)

    def first_ordinal(self) -> int:
        """No two writers have the same fence, and names carry it."""
        return 0

    def free_number(self, state: State) -> int:
        """Exactly behind the last entry known: that is what fences."""
        return state.last_seen + 1

    def put(self, entry: Entry) -> Entry:
        """Put `entry` at its number unless something stands there; return what stands there now."""
        doing = f"append {entry.type} as log entry {entry.sequence} of"
        key, raw = keys.log_key(entry.sequence), entry.encode()
        patience, sent = self.calls.patience(len(raw)), False
        while True:
            trouble = UnreachableError("the store says that the entry exists, but doesn't return it")
            try:
                if self.calls.put_new(doing, key, raw, outcome="unknown" if sent else "not saved", patience=patience):
                    return entry
                sent = True
            except NotNowError as error:
                trouble = error
            except UnreachableError as error:
                trouble, sent = error, True
            if sent and (standing := self._look_at(entry.sequence, patience)) is not None:
                return standing
            if not patience.pause(trouble):
                raise self.calls.given_up(doing, trouble, patience, sent=sent)

    def _look_at(self, sequence: int, patience: Patience) -> Entry | None:
        """The look that an answer which got lost makes necessary, within what is left of the append's own budget."""
        try:
            return read_entry(self.calls, keys.log_key(sequence), sequence, patience)
        except StorageError as error:
            error.outcome = "unknown"
            raise

    def read_forward(self, state: State) -> tuple[State, list[Entry]]:
        """Read on from `state` to the end of the log, by number: the state there, and what was read.

        Entries that can't be read are passed, loudly: their numbers are taken whatever they were.
        """
        met: list[Entry] = []
        while True:
            sequence = state.last_seen + 1
            try:
                entry = self.read(sequence)
            except UnreadableEntryError as error:
                lament(error)
                state = state.after_unreadable(sequence)
                continue
            if entry is None:
                return state, met
            state = state.after(entry)
            met.append(entry)

    def fence_at(self, sequence: int) -> Fence | None:
        """The FENCE at this number, None if it can't be read."""
        try:
            fence = self.read(sequence)
        except UnreadableEntryError:
            return None
        return fence if isinstance(fence, Fence) else None

    def _listed_after(self, start_after: str) -> int | None:
        """The newest entry by LIST. Keys that are no entries (a directory marker sorts first) are passed over."""
        while page := self.calls.list(LISTING, keys.LOG, start_after, _LIST_PAGE):
            for key in page:
                sequence = keys.log_sequence(key)
                if sequence is not None:
                    return sequence
                if placed(key) is not None:
                    raise mixed_modes(self.calls, key)
            start_after = page[-1]
        return None

    def _below_gap(self, missing: int) -> int | None:
        """A number below an existing entry is missing: where the log goes on, further down."""
        logger.error(
            "log entry %d of %s is missing, though newer ones stand: something deletes from the store (an expiry rule, "
            "a clean-up by hand). Saved progress isn't safe there until that is stopped",
            missing,
            self.calls.backend.uri,
        )
        return self._listed_after(keys.log_key(missing))
