"""What the operator tells an attempt is read strictly; what the attempt tells the operator is written always."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt
from waypost import contract
from waypost.attempt import MAX_ATTEMPT, Contract, Report
from waypost.contract import Document, Position
from waypost.errors import ConfigurationError
from waypost.store.retention import Retention

GOOD = {
    contract.ENV_CHECKPOINT_DST: "s3://bucket/team/train-0b5e8f6e/",
    contract.ENV_CHECKPOINT_SRC: "s3://bucket/team/train-0b5e8f6e",
    contract.ENV_ATTEMPT: "3",
    contract.ENV_TASK: "train",
    contract.ENV_NAMESPACE: "team",
    contract.ENV_TASK_UID: "0b5e8f6e-1",
    contract.ENV_POD_UID: "77",
    contract.ENV_RETENTION: '{"keepLast": 2}',
    contract.ENV_GRACE_SECONDS: "25",
    contract.ENV_TERMINATION_LOG: "/dev/termination-log",
}


# --- The contract ------------------------------------------------------------------------------------------------
def test_a_whole_contract_is_read_as_it_stands() -> None:
    uri = "s3://bucket/team/train-0b5e8f6e"
    expected = Contract(
        uri, uri, 3, "train", "team", "0b5e8f6e-1", "77", 25.0, "/dev/termination-log", retention=Retention(keep_last=2)
    )
    assert Contract.from_env(GOOD) == expected


def test_without_a_store_there_is_no_contract() -> None:
    assert Contract.from_env({contract.ENV_ATTEMPT: "3"}) is None


def test_store_and_attempt_are_enough() -> None:
    told = Contract.from_env({contract.ENV_CHECKPOINT_DST: "file:///x", contract.ENV_ATTEMPT: "1"})
    assert told == Contract("file:///x", "file:///x", 1, grace_seconds=contract.DEFAULT_GRACE_SECONDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (contract.ENV_CHECKPOINT_DST, ""),
        (contract.ENV_CHECKPOINT_SRC, "s3://bucket/another"),
        (contract.ENV_ATTEMPT, None),
        (contract.ENV_ATTEMPT, ""),
        (contract.ENV_ATTEMPT, "0"),
        (contract.ENV_ATTEMPT, "-1"),
        (contract.ENV_ATTEMPT, "1.0"),
        (contract.ENV_ATTEMPT, "two"),
        (contract.ENV_ATTEMPT, str(MAX_ATTEMPT + 1)),
        (contract.ENV_RETENTION, "3"),
        (contract.ENV_RETENTION, "{"),
        (contract.ENV_RETENTION, '{"keepLast": 0}'),
        (contract.ENV_RETENTION, '{"keepLatest": 3}'),
        (contract.ENV_GRACE_SECONDS, "soon"),
        (contract.ENV_GRACE_SECONDS, "-1"),
        (contract.ENV_GRACE_SECONDS, "nan"),
        (contract.ENV_GRACE_SECONDS, "inf"),
    ],
)
def test_a_contract_that_cannot_be_meant_is_refused_naming_the_variable(name: str, value: str | None) -> None:
    env = {key: text for key, text in GOOD.items() if key != name} | ({} if value is None else {name: value})
    with pytest.raises(ConfigurationError, match=re.escape(name)):
        Contract.from_env(env)


# --- The report --------------------------------------------------------------------------------------------------
def read(path: Path) -> Document | None:
    return Document.parse(path.read_bytes())


def test_each_update_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    report = Report(4, str(path))
    report.update(fence=9)
    assert read(path) == Document(attempt=4, fence=9)
    report.update(committed=Position(10, 5), stop_requested=True)
    assert read(path) == Document(attempt=4, fence=9, committed=Position(10, 5), stop_requested=True)


def test_an_update_that_interrupts_another_is_not_lost(tmp_path: Path) -> None:
    """SIGTERM may come while the main thread writes a commit: at every line of it, whatever stood half-done."""
    path = tmp_path / "log"
    missed = []
    for line in range(2000):
        path.write_bytes(b"")
        report = Report(1, str(path))
        report.update(fence=1)
        interrupted = _update_interrupted_at(line, report)
        document = read(path)
        assert document is not None
        if not interrupted:
            break
        if not (document.stop_requested and document.committed == Position(2)):
            missed.append((line, document))
    assert not missed
    assert not interrupted
    assert line > 10, "the update was traced line by line"


def _update_interrupted_at(line: int, report: Report) -> bool:
    """Run a commit's update, and the signal handler's in front of its n-th traced line."""
    seen, fired = 0, False

    def trace(frame: object, event: str, argument: object) -> object:
        nonlocal seen, fired
        if event == "line":
            if seen == line and not fired:
                fired = True
                sys.settrace(None)
                report.update(stop_requested=True)
                sys.settrace(trace)  # type: ignore[arg-type]  # typeshed wants its own protocol
            seen += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]  # as above
    try:
        report.update(committed=Position(2))
    finally:
        sys.settrace(before)
    return fired


def test_updates_from_many_threads_all_arrive(tmp_path: Path) -> None:
    path = tmp_path / "log"
    report = Report(1, str(path))

    def commit(start: int) -> None:
        for number in range(start, start + 100):
            report.update(committed=Position(number))

    threads = [threading.Thread(target=commit, args=(1000 * index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    report.update(stop_requested=True)
    for thread in threads:
        thread.join()
    document = read(path)
    assert document == report.document
    assert document is not None
    assert document.stop_requested


@pytest.mark.parametrize("where", ["nowhere/log", "."])
def test_a_termination_message_that_cannot_be_written_is_told_once_and_breaks_nothing(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = Report(1, str(tmp_path / where))
    report.update(fence=1)
    report.update(fence=2)
    assert len(caplog.records) == 1
    assert "can't write the termination message" in caplog.text
    assert report.document.fence == 2


def test_a_record_of_a_higher_fence_is_left_alone_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log"
    Document(attempt=1, fence=8, completed=True).write(str(path))
    Report(1, str(path)).update(fence=7, reason="Fenced")
    assert read(path) == Document(attempt=1, fence=8, completed=True)
    assert "higher fence" in caplog.text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_says_nothing_about_the_attempt(tmp_path: Path) -> None:
    path = tmp_path / "log"
    report = Report(1, str(path))
    report.update(fence=1)
    child = os.fork()
    if child == 0:
        report.update(reason="Error")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert read(path) == Document(attempt=1, fence=1)


# --- Uncaught errors of a script ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        ("errors.StorageError('read', 's3://b/x', 'denied')", 74, "StorageError"),
        ("errors.FencedError('attempt 2 has taken over')", 75, "Fenced"),
        ("errors.AttemptRefusedError('attempt 9 is known', 9)", 75, "AttemptRefused"),
        ("errors.CorruptCheckpointError('none left')", 65, "CorruptCheckpoint"),
        ("errors.StoreDeletedError('gone')", 65, "CorruptCheckpoint"),
        ("errors.ConfigurationError('no such scheme')", 65, "Error"),
        ("errors.CompletedError('done before')", 0, "Completed"),
        ("errors.RecoverableError('again')", 75, "RecoverableError"),
        ("ValueError('mine')", 1, "Error"),
    ],
)
def test_an_uncaught_error_of_a_script_sets_code_and_document(
    error: str, code: int, reason: str, attempt: Attempt
) -> None:
    done = attempt.run(f"from waypost import attempt, errors\nattempt.report()\nraise {error}")
    assert done.code == code, done
    assert done.document is not None
    assert done.document.reason == reason
    assert done.document.message
    assert done.document.completed == (reason == "Completed")
    assert done.document.highest_attempt == (9 if reason == "AttemptRefused" else None)
    assert ("Traceback" in done.err) == (reason != "Completed")


def test_a_script_keeps_its_own_excepthook(attempt: Attempt) -> None:
    done = attempt.run(
        """
        import sys
        from waypost import attempt, errors
        sys.excepthook = lambda *error: print("mine:", error[1])
        attempt.report()
        raise errors.FencedError("by attempt 2")
        """
    )
    assert (done.code, done.out) == (75, "mine: by attempt 2\n"), done


def test_an_unwritable_termination_message_does_not_change_the_end(attempt: Attempt) -> None:
    code = "from waypost import attempt\nattempt.report().update(fence=3)\nprint('ran on')"
    done = attempt.run(code, WAYPOST_TERMINATION_LOG="/nowhere/at/all")
    assert (done.code, done.out) == (0, "ran on\n"), done
    assert done.err.count("can't write the termination message /nowhere/at/all") == 1


def test_the_document_tells_what_the_restore_and_the_last_save_took(attempt: Attempt) -> None:
    first = attempt.run(
        """
        import random
        from waypost import Checkpoints
        with Checkpoints() as store:
            data = random.Random(1).randbytes(3 << 20)
            store.save(data, wait=True)
            store.save(data, step=7, wait=True)
        """
    )
    assert first.document is not None
    assert first.document.restore is None, "there was nothing to restore"
    assert first.document.last_save is not None, first.err
    assert first.document.last_save.size_bytes == 3 << 20
    assert first.document.last_save.moved_bytes == 0, "all of it was there already"
    again = Attempt(attempt.folder, attempt.store, number=2).run(
        """
        from waypost import Checkpoints
        with Checkpoints() as store:
            store.restore("restored")
            store.save(bytes([1]) * 100, wait=True)
            store.read_bytes()
        """
    )
    assert again.document is not None
    assert again.document.restore is not None, again.err
    assert (again.document.restore.size_bytes, again.document.restore.moved_bytes) == (3 << 20, 3 << 20)
    assert 0 < again.document.restore.milliseconds < 60_000
    assert again.document.last_save is not None
    assert (again.document.last_save.size_bytes, again.document.last_save.moved_bytes) == (100, 100)
