"""The log where the place can't create a key only if it is absent: keys of one's own, and a LIST before believing.

Every writer has a scope of its own (`waypost.store.scopes`), so no key is ever written by two. It takes the store over
by its FENCE and a LIST: what that shows below itself is restored, and written down as its BASE. Whatever it appends, it
believes only once a LIST behind the PUT shows no higher scope; until then nothing is confirmed and nothing deleted.
The newest entry of the highest scope that has more than a FENCE says what the log is.

Why that is enough, as long as a LIST shows every PUT that was answered before it began: if a writer confirms, no higher
FENCE stood behind its PUT, so every higher scope's second LIST, which comes after its FENCE, shows that PUT. What it
shows beyond (entries of the overtaken that nobody confirmed) does no harm. Likewise a writer that has started saw no
higher FENCE behind its BASE, so all who come after go on from that BASE or from something behind it: their BASEs have
higher numbers, and fences grow with scopes. Explored exhaustively in tests/model/scoped.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from waypost.backends.protocol import NotNowError, UnreachableError
from waypost.errors import (
    CompletedError,
    ConfigurationError,
    CorruptCheckpointError,
    FencedError,
    StorageError,
    StoreDeletedError,
)
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import DELETED_ATTEMPT, Base, Complete, Entry, Fence
from waypost.store.journal import LISTING, lament, mixed_modes, read_entry
from waypost.store.scopes import FENCE_NUMBER, MAX_ROW, NO_SCOPES, Scope, Scopes, placed
from waypost.store.sequences import NOTHING
from waypost.store.start import IssuedFences, Writer, require_free
from waypost.store.state import State

_LIST_PAGE: Final = 16


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a LIST shows."""

    state: State
    scopes: Scopes
    highest: Scope | None
    """The highest scope of all, even with nothing but its FENCE."""


class ScopedJournal:
    """A log of entries `log/<scope>-<inverted sequence>.json`; each writer has a scope of its own."""

    def __init__(self, calls: Calls, own: Scope | None = None, scopes: Scopes = NO_SCOPES) -> None:
        self.calls = calls
        self._own, self._scopes = own, scopes
        self._used = 0
        """The highest number sent: one whose outcome is unknown may still turn up, so it is never sent again."""
        self._ending = False

    def through(self, calls: Calls) -> ScopedJournal:
        """The same log, as other calls to the same store reach it."""
        return ScopedJournal(calls, self._own, self._scopes)

    def survey(self) -> State:
        """The state as the entry with authority tells it; from now on its row of scopes is read by."""
        found = self._look()
        if self._own is None:
            self._scopes = found.scopes
        return found.state

    def look_again(self) -> State:
        """The same as `survey`: a LIST always shows the end."""
        return self.survey()

    def still_held(self, state: State) -> State:
        """`state`, unless a higher scope stands."""
        self._require_held(state, "while it was restoring")
        return state

    def read(self, sequence: int) -> Entry | None:
        """The entry at this number, in the scope that holds it."""
        scope = self._scopes.holder(sequence)
        return None if scope is None else self._read(scope, sequence)

    def key(self, sequence: int) -> str | None:
        """The key of the entry at this number, as long as the row of scopes tells who holds it."""
        scope = self._scopes.holder(sequence)
        return None if scope is None else scope.key(sequence)

    def end(self) -> str:
        """Put the FENCE of a deleted store into a scope above all others, unless it stands; return its key."""
        scope = self._highest()
        if scope is None or scope.attempt != DELETED_ATTEMPT:
            scope = Scope(DELETED_ATTEMPT, 1, self.calls.seams.nonce())
            fence = Fence(
                sequence=FENCE_NUMBER,
                attempt=DELETED_ATTEMPT,
                fence=FENCE_NUMBER,
                nonce=scope.nonce,
                time=self.calls.seams.now(),
                live=NOTHING,
                pinned=NOTHING,
                pod=None,
                scopes=Scopes(((FENCE_NUMBER, scope),)),
            )
            self._send(scope, fence)
        return scope.key(FENCE_NUMBER)

    def first_ordinal(self) -> int:
        """At random, so that names differ even from those of a writer that a lagging LIST didn't show."""
        return int(self.calls.seams.nonce()[:15], 16)

    def free_number(self, state: State) -> int:
        """The number behind everything that was sent."""
        return max(state.last_seen, self._used) + 1

    # --- Taking over -------------------------------------------------------------------------------------------------

    def take_over(self, writer: Writer, issued: IssuedFences) -> State:
        """FENCE, LIST, BASE, LIST: return the state right behind the BASE."""
        before = self._look()
        uri = self.calls.backend.uri
        require_free(uri, before.state, writer, issued, lambda: self._fence_of(before.highest))
        again = before.highest is not None and before.highest.attempt == writer.attempt
        takeover = 1 + (before.highest.takeover if before.highest is not None and again else 0)
        scope = Scope(writer.attempt, takeover, self.calls.seams.nonce())
        issued.add(scope.nonce)
        fence = Fence(
            sequence=FENCE_NUMBER,
            attempt=writer.attempt,
            fence=FENCE_NUMBER,
            nonce=scope.nonce,
            time=self.calls.seams.now(),
            live=NOTHING,
            pinned=NOTHING,
            pod=writer.pod,
            scopes=Scopes(((FENCE_NUMBER, scope),)),
        )
        self._send(scope, fence)
        now = self._look(below=scope)
        self._require_highest(now.highest, scope, writer)
        if now.state.completed:
            raise CompletedError(f"the task of {uri} is complete already: its log has ended with COMPLETE")
        now.state.require_certain(uri)
        base = self._base(scope, now)
        self._send(scope, base)
        self._require_highest(self._highest(), scope, writer)
        self._own, self._scopes = scope, base.scopes
        return State().after(base)

    def _base(self, scope: Scope, found: _Found) -> Base:
        sequence = max(found.state.last_seen, FENCE_NUMBER) + 1
        scopes = found.scopes.followed_by(sequence, scope, found.state.live)
        if len(scopes.row) > MAX_ROW:
            raise ConfigurationError(
                f"can't go on with {self.calls.backend.uri}: its live checkpoints are of more than {MAX_ROW} "
                "different starts, too many to keep track of where the place has no conditional writes. Use a new "
                "store, from this one's newest checkpoint, and keep fewer checkpoints"
            )
        return Base(
            sequence=sequence,
            attempt=scope.attempt,
            fence=sequence,
            nonce=self.calls.seams.nonce(),
            time=self.calls.seams.now(),
            live=found.state.live,
            pinned=found.state.pinned,
            scopes=scopes,
        )

    def _fence_of(self, scope: Scope | None) -> Fence | None:
        try:
            fence = None if scope is None else self._read(scope, FENCE_NUMBER)
        except UnreadableEntryError:
            return None
        return fence if isinstance(fence, Fence) else None

    def _require_highest(self, highest: Scope | None, own: Scope, writer: Writer) -> None:
        """Raise AttemptRefusedError when a higher scope came meanwhile: nothing was said or done yet in this one."""
        if highest is None or own.outranks(highest):
            raise self._lagging("start on")
        if highest != own:
            state = State(highest_attempt=highest.attempt, deleted=highest.attempt == DELETED_ATTEMPT)
            require_free(self.calls.backend.uri, state, writer, IssuedFences(), lambda: None)

    # --- Appending ---------------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> Entry:
        """Put `entry` into the own scope, and make sure by a LIST that it counts; return it as it stands.

        Raises FencedError when a higher scope stands, ConfigurationError without a scope of one's own.
        """
        own, uri = self._own, self.calls.backend.uri
        if own is None:
            raise ConfigurationError(
                f"can't append {entry.type} to {uri}: the place has no conditional writes, so only the running task "
                "itself may write to the store's log. Set the task's retention instead"
            )
        if self._ending and not isinstance(entry, Complete):
            raise StorageError(
                f"append {entry.type} to",
                uri,
                "the task has ended its log with COMPLETE, and whether that stands is unknown",
                advice="Nothing else may follow; end the program, and the next attempt finds out",
            )
        self._ending = self._ending or isinstance(entry, Complete)
        self._used = entry.sequence
        entry = dataclasses.replace(entry, scopes=self._scopes)
        self._send(own, entry)
        try:
            self._require_held(entry, "before it could confirm what it wrote", entry.sequence)
        except StorageError as error:
            error.outcome = "unknown"
            raise
        return entry

    def _send(self, scope: Scope, entry: Entry) -> None:
        """PUT until it is answered: the same bytes under the same key, so once more does no harm."""
        doing = f"append {entry.type} as log entry {entry.sequence} of"
        key, raw = scope.key(entry.sequence), entry.encode()
        patience, sent = self.calls.patience(len(raw)), False
        while True:
            try:
                return self.calls.put_once(doing, key, raw, "unknown" if sent else "not saved", patience)
            except UnreachableError as error:
                sent = sent or not isinstance(error, NotNowError)
                if not patience.pause(error):
                    raise self.calls.given_up(doing, error, patience, sent=sent) from error

    def _require_held(self, known: State | Entry, when: str, newest: int = 0) -> None:
        """Raise FencedError when a higher scope stands, StorageError when the LIST lacks what has to be in it."""
        assert self._own is not None
        uri = self.calls.backend.uri
        highest, last = next(self._listed(), (None, 0))
        if highest is None or self._own.outranks(highest) or (highest == self._own and last < newest):
            raise self._lagging("confirm what was written to")
        if highest == self._own:
            return
        if highest.attempt == DELETED_ATTEMPT:
            raise StoreDeletedError(f"the store {uri} was deleted")
        raise FencedError(
            f"attempt {self._own.attempt} (fence {known.fence}) of {uri} was overtaken by attempt {highest.attempt} "
            f"{when}. Nothing it does can be saved any more; it has to end"
        )

    def _lagging(self, doing: str) -> StorageError:
        return StorageError(
            doing,
            self.calls.backend.uri,
            "a listing doesn't show an entry that was written before it",
            advice="Without conditional writes Waypost depends on listings that show every write at once; use another "
            "place for checkpoints, or switch its caches off",
        )

    # --- Looking -----------------------------------------------------------------------------------------------------

    def _look(self, below: Scope | None = None) -> _Found:
        """The entry with authority, of all scopes or of those below one. Unreadable ones are passed, loudly."""
        highest: Scope | None = None
        last = passed = 0
        for scope, sequence in self._listed():
            highest = highest or scope
            if sequence == FENCE_NUMBER or (below is not None and not below.outranks(scope)):
                continue
            last = max(last, sequence)
            try:
                entry = self._read(scope, sequence)
            except UnreadableEntryError as error:
                lament(error)
                passed += 1
                continue
            if entry is not None:
                state = dataclasses.replace(State().after(entry), last_seen=last, doubtful=passed > 0)
                return _Found(_with_highest(state, highest), entry.scopes, highest)
        if passed:
            raise CorruptCheckpointError(
                f"no entry can be read in the log of {self.calls.backend.uri} (there are {passed}): this is no "
                "checkpoint store, or it was damaged as a whole; look at its log/ folder, or use another URI"
            )
        return _Found(_with_highest(State(), highest), NO_SCOPES, highest)

    def _highest(self) -> Scope | None:
        return next((scope for scope, _ in self._listed()), None)

    def _listed(self) -> Iterator[tuple[Scope, int]]:
        """Scope and number of every entry, highest scope first and newest entry first, page by page as needed."""
        start_after = ""
        while page := self.calls.list(LISTING, keys.LOG, start_after, _LIST_PAGE):
            for key in page:
                found = placed(key)
                if found is not None:
                    yield found
                elif keys.log_sequence(key) is not None:
                    raise mixed_modes(self.calls, key)
            start_after = page[-1]

    def _read(self, scope: Scope, sequence: int) -> Entry | None:
        entry = read_entry(self.calls, scope.key(sequence), sequence)
        if entry is not None and entry.scopes.own != scope:
            raise UnreadableEntryError(f"log entry {sequence} of scope {scope.name} says that it is of another scope")
        return entry


def _with_highest(state: State, highest: Scope | None) -> State:
    if highest is None:
        return state
    if highest.attempt == DELETED_ATTEMPT:
        return dataclasses.replace(state, deleted=True)
    return dataclasses.replace(state, highest_attempt=highest.attempt)
