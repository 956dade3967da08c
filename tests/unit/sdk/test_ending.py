"""One table from exception to exit code, reason and message, for every way into a program."""

from __future__ import annotations

import pytest

from waypost import errors
from waypost.contract import DocumentReason
from waypost.ending import Ending, judge


class MineError(Exception):
    """A program's own error."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            errors.StorageError("read", "s3://b/x", "denied"),
            Ending(74, DocumentReason.STORAGE_ERROR, "can't read s3://b/x: denied"),
        ),
        (errors.FencedError("by 2"), Ending(75, DocumentReason.FENCED, "by 2")),
        (errors.AttemptRefusedError("9 is known", 9), Ending(75, DocumentReason.ATTEMPT_REFUSED, "9 is known", 9)),
        (errors.CorruptCheckpointError("none"), Ending(65, DocumentReason.CORRUPT, "none")),
        (errors.StoreDeletedError("gone"), Ending(65, DocumentReason.CORRUPT, "gone")),
        (errors.ConfigurationError("no"), Ending(65, DocumentReason.ERROR, "no")),
        (errors.CompletedError("done"), Ending(0, DocumentReason.COMPLETED, "done")),
        (errors.CheckpointPrunedError("4"), Ending(65, DocumentReason.CORRUPT, "4")),
        (errors.RecoverableError("x"), Ending(75, DocumentReason.RECOVERABLE_ERROR, "RecoverableError: x")),
        (errors.RecoverableError(), Ending(75, DocumentReason.RECOVERABLE_ERROR, "RecoverableError")),
        (
            errors.StopRequested(),
            Ending(75, DocumentReason.STOP_REQUESTED, "stop requested and progress saved"),
        ),
        (MineError("boom"), Ending(1, DocumentReason.ERROR, "MineError: boom")),
        (KeyboardInterrupt(), Ending(130, DocumentReason.ERROR, "KeyboardInterrupt")),
        (SystemExit(3), Ending(3, DocumentReason.ERROR, "sys.exit(3)")),
        (SystemExit(-1), Ending(255, DocumentReason.ERROR, "sys.exit(255)")),
        (SystemExit("words"), Ending(1, DocumentReason.ERROR, "SystemExit: words")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_end_has_its_code_reason_and_message(error: BaseException, expected: Ending) -> None:
    assert judge(error) == expected


def test_subclasses_of_the_users_own_end_like_their_parent() -> None:
    class Lost(errors.RecoverableError):
        pass

    assert judge(Lost("connection")).exit_code == 75
    assert judge(Lost("connection")).message == "Lost: connection"
