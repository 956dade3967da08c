"""How a store's log stands in the store: the one thing that depends on what the place can do.

Entries say the same in every store, and `State` follows from them in the same way. Under which keys they stand, how one
is added so that a writer that was cut off can't add any more, and where a reader finds the newest: that is a matter of
the store's mode. A `Journal` is that matter, and nobody above it asks for the mode.
"""

from __future__ import annotations

from typing import Final, Protocol, Self

from waypost.errors import StorageError
from waypost.log import logger
from waypost.store import keys
from waypost.store.calls import Calls, Patience
from waypost.store.damage import DamagedError, UnreadableEntryError
from waypost.store.entries import Entry, decode
from waypost.store.start import IssuedFences, Writer
from waypost.store.state import State

LISTING: Final = "list the log of"


class Journal(Protocol):
    """The log of one store. Every method raises StorageError when the store can't be asked."""

    @property
    def calls(self) -> Calls:
        """What its requests go through."""

    def through(self, calls: Calls) -> Self:
        """The same log, as other calls to the same store reach it."""

    def survey(self) -> State:
        """The state of the log as a LIST finds it, without writing anything.

        Raises CorruptCheckpointError when there are entries and none can be read: that is not "nothing saved yet".
        """

    def look_again(self) -> State:
        """The state of the log at its very end, for a reader whose knowledge turned out to be old."""

    def still_held(self, state: State) -> State:
        """The state of the log at its very end, for the holder that knew it as `state`.

        Raises FencedError, or StoreDeletedError, when it isn't this holder's any more.
        """

    def read(self, sequence: int) -> Entry | None:
        """The entry at this number, None when there is none. Raises UnreadableEntryError after a second look."""

    def take_over(self, writer: Writer, issued: IssuedFences) -> State:
        """Append this attempt's FENCE and return the state that it resumes from.

        Nothing is appended if it may not start. Raises AttemptRefusedError, CompletedError, StoreDeletedError,
        CorruptCheckpointError.
        """

    def key(self, sequence: int) -> str | None:
        """The key of the entry at this number; None when it can't be known any more."""

    def end(self) -> str:
        """Append the FENCE of a deleted store unless it stands, whoever holds the log; return its key."""

    def first_ordinal(self) -> int:
        """Behind which number the ordinals of this writer's uploads begin, so that no other's have the same names."""

    def free_number(self, state: State) -> int:
        """The number to put the next entry at, for the holder that knows the log as `state`."""

    def put(self, entry: Entry) -> Entry:
        """Put `entry` at its number, which is free as far as is known; return what stands there now.

        Raises StorageError with outcome 'unknown' when that can't be found out within the budget, and 'not saved' when
        every request was refused; UnreadableEntryError when something unreadable stands there; FencedError or
        StoreDeletedError where somebody else's taking over shows otherwise than by what stands there;
        ConfigurationError for an entry that has no fence, where that can't be appended safely.
        """


def read_entry(calls: Calls, key: str, sequence: int, patience: Patience | None = None) -> Entry | None:
    """The entry under this key, None when there is none. Raises UnreadableEntryError after a second look."""
    for last_look in (False, True):
        try:
            raw = calls.get(f"read log entry {sequence} of", key, keys.MAX_ENTRY, patience)
            return None if raw is None else decode(raw, sequence)
        except UnreadableEntryError:
            if last_look:
                raise
        except DamagedError as error:
            raise UnreadableEntryError(str(error)) from error
    raise AssertionError("the last look returns or raises")


def mixed_modes(calls: Calls, key: str) -> StorageError:
    """For a key of the log that is an entry by the rules of the other mode: it is no stranger's file."""
    return StorageError(
        LISTING,
        calls.backend.uri,
        f"{key} is an entry of a store in another mode than format.json says",
        advice="Something replaced format.json, or two stores were mixed; use another URI",
    )


def lament(error: UnreadableEntryError) -> None:
    """Say loudly that an entry is lost, and what follows."""
    logger.error("%s. What it was is unknown; whatever it recorded is lost, and Waypost goes on without it", error)
