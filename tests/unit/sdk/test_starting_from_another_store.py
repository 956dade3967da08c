"""`WAYPOST_CHECKPOINT_FROM` in real processes: what the program gets, and what the operator is told."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt, outside, run_outside
from waypost import Checkpoints, contract
from waypost.contract import DocumentReason, Position
from waypost.store.entries import Origin

TUNE = """
    import os, signal, sys
    import waypost

    @waypost.task
    def tune():
        checkpoint = waypost.current_context().checkpoint
        print("exists", checkpoint.prev_exists())
        print("read", checkpoint.read())
        print("files", sorted(path.name for path in checkpoint.restore().iterdir()))
        if "die" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        waypost.Checkpoints().save(b"tuned", step=8, wait=True)
        print("base", checkpoint.read())
        print("latest", waypost.Checkpoints().latest().step)

    tune()
"""


@pytest.fixture
def base_model(tmp_path: Path) -> str:
    """URI of another task's store: three checkpoints, the last at step 7."""
    uri = (tmp_path / "base").as_uri()
    with Checkpoints(uri, attempt=1) as store:
        for step in (5, 6, 7):
            store.save(f"weights {step}".encode(), step=step, wait=True)
    return uri


def test_a_task_killed_before_its_first_save_begins_from_from_again(attempt: Attempt, base_model: str) -> None:
    env = {contract.ENV_CHECKPOINT_FROM: base_model}
    program = str(attempt.program(TUNE))
    with attempt.started([program, "die"], **env) as process:
        first = attempt.end(process)
    assert first.code == -signal.SIGKILL, first.err
    second = dataclasses.replace(attempt, number=2, pod="pod-2")
    with second.started([program], **env) as process:
        done = second.end(process)
    assert done.code == 0, done.err
    wanted = "exists True\nread b'weights 7'\nfiles ['_dst_cp']\n"
    assert first.out in ("", wanted), "killed, so it may not have come to print"
    assert done.out == f"{wanted}base b'weights 7'\nlatest 8\n"
    with Checkpoints(attempt.store) as store:
        [info] = store.list()
    assert info.parent == Origin(base_model, 4)


def test_the_operator_is_told_apart_from_progress_what_the_task_started_from(attempt: Attempt, base_model: str) -> None:
    done = attempt.run(TUNE, **{contract.ENV_CHECKPOINT_FROM: base_model})
    assert done.code == 0, done.err
    assert done.document is not None
    assert (done.document.started_from, done.document.resumed_from) == (Position(4, 7), None)
    second = dataclasses.replace(attempt, number=2, pod="pod-2").run(
        TUNE.replace('b"tuned", step=8', 'b"more", step=9'), **{contract.ENV_CHECKPOINT_FROM: base_model}
    )
    assert second.document is not None
    assert (second.document.started_from, second.document.resumed_from) == (None, Position(2, 8))


def test_a_script_that_only_restores_tells_it_too(attempt: Attempt, base_model: str) -> None:
    done = attempt.run(
        "import waypost\nprint(waypost.Checkpoints().restore('work'))",
        **{contract.ENV_CHECKPOINT_FROM: f"{base_model}#3"},
    )
    assert done.out == f"3 (attempt 1, step 6) of {base_model}\n"
    assert (attempt.folder / "work" / "_dst_cp").read_bytes() == b"weights 6"
    assert done.document is not None
    assert (done.document.started_from, done.document.resumed_from) == (Position(3, 6), None)


def test_another_store_that_the_program_opens_has_nothing_to_do_with_from(
    attempt: Attempt, base_model: str, tmp_path: Path
) -> None:
    done = attempt.run(
        f"import waypost\nprint(waypost.Checkpoints('{tmp_path / 'third'}', attempt=1).restore('work'))",
        **{contract.ENV_CHECKPOINT_FROM: base_model},
    )
    assert done.out == "None\n", done.err


def test_a_from_that_can_not_be_read_ends_the_attempt_with_74_and_its_name(attempt: Attempt, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    uri = (tmp_path / "file" / "store").as_uri()
    done = attempt.run(TUNE, **{contract.ENV_CHECKPOINT_FROM: uri})
    assert done.code == contract.EXIT_STORAGE, done.err
    assert done.document is not None
    assert done.document.reason == DocumentReason.STORAGE_ERROR
    assert uri in (done.document.message or "")
    assert "exists" not in done.out


@pytest.mark.parametrize(("uri", "words"), [("{tmp}/nothing", "no checkpoint store"), ("nowhere://x", "nowhere")])
def test_a_from_without_a_checkpoint_or_with_an_unknown_scheme_fails_the_task(
    attempt: Attempt, tmp_path: Path, uri: str, words: str
) -> None:
    done = attempt.run(TUNE, **{contract.ENV_CHECKPOINT_FROM: uri.format(tmp=tmp_path)})
    assert done.code == contract.EXIT_CORRUPT, done.err
    assert done.document is not None
    assert words in (done.document.message or "")


def test_a_local_run_begins_from_another_store(tmp_path: Path, base_model: str, attempt: Attempt) -> None:
    laptop = tmp_path / "laptop"
    laptop.mkdir()
    (laptop / "count.py").write_text(
        "import waypost\n"
        "@waypost.task(retries=1)\n"
        "def count():\n"
        "    checkpoint = waypost.current_context().checkpoint\n"
        "    print(checkpoint.read())\n"
        "    if not list(waypost.Checkpoints().list()):\n"
        "        checkpoint.write(b'own')\n"
        "        raise waypost.RecoverableError('again')\n"
    )
    done = run_outside(laptop, "-m", "waypost.cli", "run", "count.py:count", "--from", f"{base_model}#2")
    assert done.code == 0, done.err
    assert done.out == "b'weights 5'\nb'own'\n"
    assert "FROM, step 5" in done.err
    refused = run_outside(laptop, "-m", "waypost.cli", "run", "count.py:count", "--from", f"{base_model}#zwei")
    assert refused.code == contract.EXIT_CORRUPT
    assert "checkpoint's number" in refused.err
    in_a_pod = attempt.run_command("run", "count.py:count", "--from", base_model)
    assert in_a_pod.code == contract.EXIT_CORRUPT
    assert outside().keys().isdisjoint(contract.ENV_NAMES)
