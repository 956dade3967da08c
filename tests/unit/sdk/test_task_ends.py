"""How one attempt of a task ends: exit code and document, as the operator gets them, from real processes."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt, Finished, terminate, wait_for
from waypost import Checkpoints, stop
from waypost.contract import Document

HEAD = """
import os, sys, time
import waypost
from waypost import stop

@waypost.task(retries=3)
def train(n: int = 3):
    checkpoint = waypost.current_context().checkpoint
    prev = checkpoint.read()
    print("resumed at", prev.decode() if prev else None, flush=True)
    {body}
"""
CALLED = "\nif __name__ == '__main__':\n    print('returned', train())\n"


def source(body: str) -> str:
    return HEAD.format(body="\n    ".join(body.strip("\n").splitlines()))


def entry(attempt: Attempt, body: str, **env: str) -> Finished:
    """Run it as a pod does: waypost run program.py:train."""
    attempt.program(source(body), "training_program.py")
    return attempt.run_command("run", "training_program.py:train", **env)


def script(attempt: Attempt, body: str, **env: str) -> Finished:
    """Run it as `python program.py`."""
    return attempt.run(source(body) + CALLED, **env)


def told(done: Finished) -> Document:
    assert done.document is not None, done
    return done.document


def completed(attempt: Attempt) -> bool:
    with Checkpoints(attempt.store, attempt=None) as store:
        return store.completed


def following(attempt: Attempt) -> Attempt:
    return dataclasses.replace(attempt, number=attempt.number + 1, pod=f"pod-{attempt.number + 1}")


# --- Return ------------------------------------------------------------------------------------------------------
def test_a_return_under_waypost_run_completes_the_task(attempt: Attempt) -> None:
    done = entry(attempt, "checkpoint.write(b'1')\nreturn {'loss': 0.5}")
    assert done.code == 0, done
    document = told(done)
    assert document.completed
    assert (document.reason, document.result) == ("Completed", '{"loss": 0.5}')
    assert document.fence is not None
    assert document.committed is not None
    assert document.committed.sequence > document.fence
    assert completed(attempt)


def test_a_return_in_a_script_is_judged_by_its_exit_code(attempt: Attempt) -> None:
    done = script(attempt, "checkpoint.write(b'1')\nreturn 7")
    assert (done.code, done.out) == (0, "resumed at None\nreturned 7\n"), done
    assert not told(done).completed
    assert told(done).result == "7"
    assert not completed(attempt)


@pytest.mark.parametrize("leave", ["sys.exit()", "sys.exit(0)", "raise SystemExit"])
def test_sys_exit_0_is_a_return(attempt: Attempt, leave: str) -> None:
    done = entry(attempt, f"checkpoint.write(b'1')\n{leave}")
    assert done.code == 0, done
    assert told(done).completed


def test_complete_called_by_the_program_completes_in_a_script_too(attempt: Attempt) -> None:
    done = script(attempt, "checkpoint.write(b'1')\nwaypost.Checkpoints().complete()\nreturn 7")
    assert done.code == 0, done
    assert told(done).completed
    assert completed(attempt)


def test_an_attempt_of_a_completed_task_exits_0_without_running_it(attempt: Attempt) -> None:
    entry(attempt, "checkpoint.write(b'1')")
    for run in (entry, script):
        done = run(dataclasses.replace(attempt, number=2, pod=run.__name__), "raise AssertionError('ran again')")
        assert (done.code, done.out) == (0, ""), done
        assert told(done).completed
        assert "Traceback" not in done.err


# --- Errors ------------------------------------------------------------------------------------------------------
ENDS = [
    ("raise waypost.RecoverableError('lost the connection')", 75, "RecoverableError", "lost the connection"),
    ("raise ValueError('no such file')", 1, "Error", "ValueError: no such file"),
    ("raise waypost.StorageError('read', 's3://b/x', 'denied')", 74, "StorageError", "can't read s3://b/x: denied"),
    ("raise waypost.CorruptCheckpointError('none left')", 65, "CorruptCheckpoint", "none left"),
    ("raise waypost.FencedError('by attempt 2')", 75, "Fenced", "by attempt 2"),
]


@pytest.mark.parametrize("run", [entry, script])
@pytest.mark.parametrize(("body", "code", "reason", "message"), ENDS)
def test_an_error_is_exit_code_reason_and_message(
    attempt: Attempt, run: type[Finished], body: str, code: int, reason: str, message: str
) -> None:
    done = run(attempt, f"checkpoint.write(b'1')\n{body}")  # type: ignore[arg-type,call-arg]  # one of two functions
    document = told(done)
    assert (done.code, document.reason) == (code, reason), done
    assert document.message is not None
    assert message in document.message
    assert document.committed is not None
    assert not document.completed
    assert message in done.err
    assert not completed(attempt)


@pytest.mark.parametrize(("leave", "code"), [("sys.exit(3)", 3), ("sys.exit('words')", 1), ("os._exit(42)", 42)])
def test_an_exit_with_a_code_of_its_own_keeps_it(attempt: Attempt, leave: str, code: int) -> None:
    done = entry(attempt, f"checkpoint.write(b'1')\n{leave}")
    assert done.code == code, done
    assert told(done).committed is not None
    assert not told(done).completed


def test_the_traceback_of_a_program_begins_in_the_program(attempt: Attempt) -> None:
    done = entry(attempt, "checkpoint.write(b'1')\nraise ValueError('mine')")
    assert "in train" in done.err
    assert "execution.py" not in done.err


def test_an_error_while_the_program_is_loaded_is_told(attempt: Attempt) -> None:
    attempt.program("import waypost\nraise ImportError('no torch')", "training_program.py")
    done = attempt.run_command("run", "training_program.py:train")
    assert done.code == 1, done
    assert told(done).message == "ImportError: no torch"
    assert told(done).fence is None


# --- Relaunch ----------------------------------------------------------------------------------------------------
def test_the_next_attempt_resumes_where_the_last_one_saved(attempt: Attempt) -> None:
    body = "checkpoint.write(b'40')\nraise waypost.RecoverableError('again')"
    first = entry(attempt, body)
    second = entry(following(attempt), "return 41")
    assert (first.out, second.out) == ("resumed at None\n", "resumed at 40\n")
    resumed = told(second).resumed_from
    assert resumed is not None
    assert resumed == told(first).committed
    assert "attempt 2 resumes from checkpoint" in second.err


def test_a_killed_attempt_has_told_how_far_it_came(attempt: Attempt) -> None:
    done = entry(attempt, "checkpoint.write(b'1')\nos.kill(os.getpid(), 9)")
    assert done.code == -signal.SIGKILL, done
    assert told(done).committed is not None
    assert entry(following(attempt), "pass").out == "resumed at 1\n"


def test_a_lower_attempt_is_refused_and_told_the_highest(attempt: Attempt) -> None:
    entry(dataclasses.replace(attempt, number=5, pod="later"), "checkpoint.write(b'1')\nos._exit(9)")
    done = entry(attempt, "raise AssertionError('ran')")
    assert done.code == 75, done
    assert (told(done).reason, told(done).highest_attempt) == ("AttemptRefused", 5)
    assert told(done).fence is None
    assert done.out == ""


def test_a_fenced_attempt_stops_at_its_next_save(attempt: Attempt) -> None:
    attempt.program(source(LOOP + "checkpoint.write(b'1')"), "training_program.py")
    with attempt.started(["-m", "waypost.cli", "run", "training_program.py:train"]) as process:
        wait_for((attempt.folder / "ready").exists, "the first save")
        with Checkpoints(attempt.store, attempt=2):
            done = attempt.end(process)
    assert done.code == 75, done
    assert told(done).reason == "Fenced"


# --- The stop order, with a store --------------------------------------------------------------------------------
LOOP = "checkpoint.write(b'0')\nopen('ready', 'w').close()\nfor n in range(6000):\n    time.sleep(0.01)\n    "


def preempted(attempt: Attempt, body: str, times: int = 1) -> Finished:
    attempt.program(source(body), "training_program.py")
    with attempt.started(["-m", "waypost.cli", "run", "training_program.py:train"]) as process:
        wait_for(lambda: (attempt.folder / "ready").exists() or process.poll() is not None, "the loop")
        for _ in range(times):
            terminate(process)
        return attempt.end(process)


def test_a_tight_loop_that_ignores_sigterm_but_saves_ends_with_75_after_its_next_save(attempt: Attempt) -> None:
    body = "open('last', 'w').write('0')\n" + LOOP
    done = preempted(attempt, body + "checkpoint.write(str(n).encode()); open('last', 'w').write(str(n))")
    document = told(done)
    assert done.code == 75, done
    assert (document.stop_requested, document.reason, document.completed) == (True, "StopRequested", False)
    resumed = entry(following(attempt), "pass").out
    confirmed = int((attempt.folder / "last").read_text())
    assert resumed in (f"resumed at {confirmed}\n", f"resumed at {confirmed + 1}\n")


def test_except_exception_does_not_swallow_the_stop(attempt: Attempt) -> None:
    done = preempted(attempt, LOOP + "try: checkpoint.write(b'1')\n    except Exception: pass")
    assert done.code == 75, done


def test_a_program_that_asks_returns_and_is_relaunched_not_complete(attempt: Attempt) -> None:
    body = "asked = waypost.preemption_requested()\n" + LOOP + "if waypost.preemption_requested(): break"
    done = preempted(attempt, body + "\ncheckpoint.write(b'last')")
    document = told(done)
    assert done.code == 75, done
    assert (document.stop_requested, document.completed) == (True, False)
    assert not completed(attempt)
    assert entry(following(attempt), "pass").out == "resumed at last\n"


def test_a_callback_may_save(attempt: Attempt) -> None:
    body = "waypost.on_preemption(lambda: (checkpoint.write(b'from the callback'), open('done', 'w').close()))\n" + LOOP
    done = preempted(attempt, body + "if os.path.exists('done'): break\n    checkpoint.write(b'loop')")
    assert done.code == 75, done
    assert (attempt.folder / "done").exists()


def test_a_stopped_program_that_completes_itself_is_complete(attempt: Attempt) -> None:
    body = "asked = waypost.preemption_requested()\n" + LOOP
    done = preempted(attempt, body + "if waypost.preemption_requested(): break\nwaypost.Checkpoints().complete()")
    assert done.code == 0, done
    assert told(done).completed
    assert told(done).stop_requested


def test_an_error_after_sigterm_keeps_its_code_and_the_stop_order(attempt: Attempt) -> None:
    body = "asked = waypost.preemption_requested()\n" + LOOP
    done = preempted(attempt, body + "if waypost.preemption_requested(): raise ValueError('torn down')")
    assert done.code == 1, done
    assert told(done).stop_requested
    assert told(done).reason == "Error"


def test_sigterm_while_the_program_is_loaded_sends_no_fence(attempt: Attempt) -> None:
    """`import torch` takes longer than a preempted pod may have left."""
    slow = "import os, time\nopen('ready', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    attempt.program(slow + source("raise AssertionError('ran')"), "training_program.py")
    with attempt.started(["-m", "waypost.cli", "run", "training_program.py:train"]) as process:
        wait_for((attempt.folder / "ready").exists, "the import")
        terminate(process)
        wait_for(lambda: (found := attempt.document) is not None and found.stop_requested, "stopRequested")
        (attempt.folder / "go").touch()
        done = attempt.end(process)
    assert done.code == 75, done
    assert (told(done).fence, told(done).reason) == (None, "StopRequested")
    with Checkpoints(attempt.store, attempt=None) as store:
        assert store.highest_attempt == 0


# --- The last flush ----------------------------------------------------------------------------------------------
BREAK_THE_STORE = """
import shutil
folder = waypost.Checkpoints().uri.removeprefix('file://')
shutil.rmtree(folder)
open(folder, 'w').close()
"""


def test_what_was_saved_in_the_background_is_durable_before_the_end_is_told(attempt: Attempt) -> None:
    body = "for n in range(3): waypost.Checkpoints().save(bytes([65 + n]) * 100_000)\nraise ValueError('mine')"
    done = entry(attempt, body)
    assert done.code == 1, done
    assert told(done).committed is not None
    assert "resumed at CCC" in entry(following(attempt), "pass").out


@pytest.mark.parametrize("end", ["return 1", "raise ValueError('mine')", "raise waypost.RecoverableError('mine')"])
def test_a_last_flush_that_fails_is_a_storage_error_that_tells_of_the_programs_own(attempt: Attempt, end: str) -> None:
    save = "try: waypost.Checkpoints().save(b'2' * 100_000)\nexcept waypost.StorageError: pass\n"
    done = entry(attempt, "checkpoint.write(b'1')\n" + BREAK_THE_STORE + save + end)
    assert done.code == 74, done
    assert told(done).reason == "StorageError"
    assert not told(done).completed
    if "mine" in end:
        assert "mine" in (told(done).message or "")
        assert "in train" in done.err


def test_what_latest_told_an_attempt_is_what_it_resumed_from(attempt: Attempt) -> None:
    """A program whose whole state is its step never restores anything."""
    entry(attempt, "waypost.Checkpoints().save(b'', step=7, wait=True)\nos._exit(1)")
    head = HEAD.partition("    checkpoint =")[0]
    done = following(attempt).run(head + "    assert waypost.Checkpoints().latest().step == 7\ntrain()")
    resumed = told(done).resumed_from
    assert resumed is not None
    assert resumed.step == 7


# --- One store, one task function --------------------------------------------------------------------------------
def test_a_second_task_function_on_one_store_is_refused(attempt: Attempt) -> None:
    second = "\n@waypost.task\ndef evaluate():\n    print('evaluating')\n"
    done = attempt.run(source("return 1") + second + "train()\nevaluate()\n")
    assert done.code == 65, done
    assert "evaluate can't run: this attempt has already run train" in done.err
    assert done.out == "resumed at None\n"


def test_in_a_pod_the_retries_of_the_decorator_do_not_rule_and_the_log_says_so(attempt: Attempt) -> None:
    done = entry(attempt, "raise waypost.RecoverableError('again')")
    assert done.code == 75, done
    assert done.out.count("resumed at") == 1
    assert "in a pod spec.failurePolicy decides" in done.err


# --- What is in the way ------------------------------------------------------------------------------------------
def test_an_unwritable_termination_message_does_not_keep_a_task_from_completing(attempt: Attempt) -> None:
    done = entry(attempt, "checkpoint.write(b'1')", WAYPOST_TERMINATION_LOG="/nowhere/at/all")
    assert done.code == 0, done
    assert done.err.count("can't write the termination message") == 1
    assert completed(attempt)


def test_a_shell_as_pid_1_of_a_real_container_is_seen_by_name() -> None:
    """`sh -c` with two commands stays, as pid 1 would, under the name that the warning looks for."""
    with subprocess.Popen(["sh", "-c", "sleep 60; true"]) as shell:
        comm = Path(f"/proc/{shell.pid}/comm")
        try:
            wait_for(lambda: comm.read_text().strip() in stop.SHELLS, "the shell's name")
        finally:
            shell.kill()
