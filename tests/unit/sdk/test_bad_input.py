"""Bad input gets one clear line and the right exit code before any user code runs, and loses nothing.

What needs a server (missing bucket, wrong credentials, nobody there) is in tests/integration/sdk.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt, Finished, run_outside

PROGRAM = """
import waypost

@waypost.task
def train(n: int = 1):
    print("ran")
    waypost.current_context().checkpoint.write(b"1")
"""


def pod(attempt: Attempt, store: str, *words: str, **env: str) -> Finished:
    attempt.program(PROGRAM, "training_program.py")
    changed = dataclasses.replace(attempt, store=store)
    return changed.run_command("run", "training_program.py:train", *words, **env)


def one_line(done: Finished) -> str:
    lines = done.err.splitlines()
    assert len(lines) == 1, done
    assert done.out == "", done
    assert done.document is not None
    assert done.document.fence is None
    assert done.document.message is not None
    assert done.document.message.rstrip(".") in lines[0]
    return lines[0]


def test_an_unknown_scheme_fails_at_once(attempt: Attempt) -> None:
    done = pod(attempt, "nosuch://bucket/x")
    assert done.code == 65, done
    assert "nosuch" in one_line(done)


def test_an_unwritable_path_is_a_storage_error_naming_uri_and_operation(attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = pod(attempt, (tmp_path / "file" / "store").as_uri())
    assert done.code == 74, done
    line = one_line(done)
    assert f"{tmp_path}/file" in line
    assert "can't " in line
    assert done.document is not None
    assert done.document.reason == "StorageError"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--n", "many"), "'many' is not a valid integer"),
        (("--m", "1"), "No such option"),
        (("--checkpoint", "file:///x"), "in a pod the task's spec says where"),
        (("--keep-last", "5"), "in a pod the task's spec says where"),
    ],
)
def test_wrong_arguments_in_a_pod_fail_at_once(attempt: Attempt, words: tuple[str, ...], message: str) -> None:
    done = pod(attempt, attempt.store, *words)
    assert done.code == 65, done
    assert message in one_line(done)


def test_a_broken_contract_fails_at_once_naming_the_variable(attempt: Attempt) -> None:
    done = pod(attempt, attempt.store, WAYPOST_ATTEMPT="zero")
    assert (done.code, done.out) == (65, ""), done
    assert "WAYPOST_ATTEMPT is 'zero'" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("run", "nowhere.py:train"), 65, "no such file"),
        (("run", "program.py"), 65, "isn't FILE:FUNCTION"),
        (("run", "program.py:train", "--checkpoint", "nosuch://x"), 65, "nosuch"),
        (("run", "program.py:train", "--preempt-every", "0"), 2, "0.0 is not in the range x>0"),
        (("run", "program.py:train", "--kill"), 2, "--preempt-every"),
        (("run", "program.py:train", "--keep-last", "-1"), 2, "-1 is not in the range 0<=x<=1000"),
        (("run", "negative.py:train"), 65, "retries has to be a whole number, 0 or more"),
        (("checkpoints", "ls", "nosuch://x"), 65, "nosuch"),
        (("checkpoints", "pin", "/nowhere", "1"), 65, "there is no checkpoint store at file:///nowhere"),
        (("checkpoints", "prune", "/nowhere"), 2, "--keep-last"),
        (("checkpoints", "prune", "/nowhere", "--keep-last", "0"), 65, "keepLast is 0"),
        (("checkpoints", "prune", "/nowhere", "--keep-last", "1", "--keep-best", "loss"), 2, "METRIC:min"),
        (("checkpoints", "pull", "/nowhere", "out"), 65, "nothing is saved in /nowhere"),
        (("checkpoints", "delete", "/nowhere"), 2, "give --yes"),
        (("checkpoints", "delete", "/nowhere", "--yes"), 65, "there is no checkpoint store at file:///nowhere"),
        (("checkpoints", "delete", "/nowhere", "--missing-ok"), 2, "give --yes"),
    ],
)
def test_on_a_laptop_too_it_is_words_and_no_traceback(
    tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "negative.py").write_text(PROGRAM.replace("@waypost.task", "@waypost.task(retries=-1)"))
    done = run_outside(tmp_path, "-m", "waypost.cli", *words)
    assert (done.code, done.out) == (code, ""), done
    assert message in done.err
    assert "Traceback" not in done.err
