"""A pod whose storage is wrong: exit 74 before any user code runs, one line that names URI, operation and cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import S3Server
from tests.unit.sdk.processes import Attempt, Finished

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PROGRAM = """
import waypost

@waypost.task
def train():
    checkpoint = waypost.current_context().checkpoint
    print("ran, resumed from", checkpoint.read())
    checkpoint.write(b"1")
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A real S3 server with one bucket."""
    with S3Server.start("runs") as server:
        yield server


def pod(tmp_path: Path, store: str, env: dict[str, str], number: int = 1) -> Finished:
    attempt = Attempt(tmp_path, store, number, f"pod-{number}")
    attempt.program(PROGRAM, "training_program.py")
    return attempt.run_command("run", "training_program.py:train", **env)


def refused(done: Finished, uri: str) -> str:
    """Hold the end against what every storage error promises; returns the line."""
    assert done.code == 74, done
    assert done.out == "", "user code ran"
    assert done.document is not None
    assert (done.document.reason, done.document.fence) == ("StorageError", None), done
    assert done.document.message is not None
    line = done.err.splitlines()[-1]
    assert line.startswith("waypost: can't "), done
    assert uri in line
    assert uri in done.document.message
    assert "Traceback" not in done.err
    return line


def test_good_storage_is_used(s3: S3Server, tmp_path: Path) -> None:
    done = pod(tmp_path, "s3://runs/good", s3.environment)
    assert (done.code, done.out) == (0, "ran, resumed from None\n"), done


def test_a_missing_bucket(s3: S3Server, tmp_path: Path) -> None:
    refused(pod(tmp_path, "s3://nowhere/train", s3.environment), "s3://nowhere/train")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(s3: S3Server, tmp_path: Path, name: str) -> None:
    refused(pod(tmp_path, "s3://runs/train", s3.environment | {name: "wrong"}), "s3://runs/train")


def test_nobody_there(s3: S3Server, tmp_path: Path) -> None:
    env = s3.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    refused(pod(tmp_path, "s3://runs/train", env), "s3://runs/train")
