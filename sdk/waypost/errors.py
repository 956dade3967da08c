"""Everything Waypost raises, in one tree.

    WaypostError
    ├── ConfigurationError      what the caller or the environment asked for makes no sense
    ├── StorageError            the store can't be reached, or refuses; .outcome says whether a save may exist
    ├── FencedError             a newer attempt owns the store: this process must stop, for ever
    ├── AttemptRefusedError     the store knows a higher attempt: this one may not start
    ├── CompletedError          the log has ended with COMPLETE: nothing may follow
    ├── CorruptCheckpointError  no checkpoint is left that verifies
    │   └── StoreDeletedError   the store was deleted under this task
    ├── CheckpointPrunedError   the checkpoint named explicitly was pruned meanwhile
    └── SupersededError         a newer save took this one's place in the queue before it was sent

    RecoverableError            the user's own "relaunch me": not a WaypostError
    StopRequested               a SystemExit: the stop order was honoured by a confirmed save

Each WaypostError carries the exit code by which the operator judges the pod, so that an uncaught one tells the
truth even outside `@waypost.task`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

from waypost import contract

Outcome = Literal["not saved", "unknown"]


class WaypostError(Exception):
    """Root of the tree; the message names what was tried, on what, why it failed and what to do next."""

    exit_code: ClassVar[int] = 1
    document_reason: ClassVar[contract.DocumentReason] = contract.DocumentReason.ERROR


class ConfigurationError(WaypostError, ValueError):
    """A URI, an argument or an environment variable that can't be meant: fails at once, nothing is touched."""

    exit_code = contract.EXIT_CORRUPT


class StorageError(WaypostError):
    """The store can't be reached, or answers denied, not found or nonsense.

    `outcome` speaks of a save: 'not saved' as long as its entry was never sent, 'unknown' once it was.
    """

    exit_code = contract.EXIT_STORAGE
    document_reason = contract.DocumentReason.STORAGE_ERROR

    def __init__(
        self, operation: str, uri: str, cause: str, *, advice: str = "", outcome: Outcome = "not saved"
    ) -> None:
        self.operation, self.uri, self.cause, self.advice, self.outcome = operation, uri, cause, advice, outcome
        super().__init__(f"can't {operation} {uri}: {cause}" + (f". {advice}" if advice else ""))

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way from a child process to its parent."""
        rebuild = partial(type(self), advice=self.advice, outcome=self.outcome)
        return rebuild, (self.operation, self.uri, self.cause)


class FencedError(WaypostError):
    """A newer attempt has taken the store over; whatever this process does can't be committed any more."""

    exit_code = contract.EXIT_RECOVERABLE
    document_reason = contract.DocumentReason.FENCED


class AttemptRefusedError(WaypostError):
    """The log already knows a higher attempt (or the same from another pod): this one must not start."""

    exit_code = contract.EXIT_RECOVERABLE
    document_reason = contract.DocumentReason.ATTEMPT_REFUSED

    def __init__(self, message: str, highest_attempt: int) -> None:
        self.highest_attempt = highest_attempt
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way from a child process to its parent."""
        return type(self), (str(self), self.highest_attempt)


class CompletedError(WaypostError):
    """The log has ended with COMPLETE."""

    exit_code = contract.EXIT_COMPLETE
    document_reason = contract.DocumentReason.COMPLETED


class CorruptCheckpointError(WaypostError):
    """No checkpoint of this lineage verifies any more; nothing is guessed."""

    exit_code = contract.EXIT_CORRUPT
    document_reason = contract.DocumentReason.CORRUPT


class StoreDeletedError(CorruptCheckpointError):
    """The store was deleted; no attempt may write to it again."""


class CheckpointPrunedError(WaypostError):
    """A checkpoint asked for by number is not live any more: asking again won't bring it back."""

    exit_code = contract.EXIT_CORRUPT
    document_reason = contract.DocumentReason.CORRUPT


class SupersededError(WaypostError):
    """This save never left the queue: a newer one took its place."""


class RecoverableError(Exception):
    """Raise it to be relaunched: exit 75 in a pod, a retry in `waypost run`."""


class StopRequested(SystemExit):
    """The stop order was honoured: the first save confirmed after SIGTERM ends the program with exit 75."""

    def __init__(self, message: str = "stop requested and progress saved") -> None:
        super().__init__(contract.EXIT_RECOVERABLE)
        self.message = message

    def __str__(self) -> str:
        return self.message
