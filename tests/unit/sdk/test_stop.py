"""The stop order in a real process: SIGTERM is told at once and ends nothing by itself, the next save does.

The commits here are told to the stop order directly, as the store tells them; tests with a store are next door.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt, Finished, terminate, wait_for
from waypost import stop
from waypost.contract import Document
from waypost.errors import StopRequested

LOOP = """
import sys, time
from waypost import attempt, stop
attempt.report().update(fence=1)
stop.install()
{before}
print("ready", flush=True)
for _ in range(6000):
    time.sleep(0.01)
    {inside}
print("end of the loop")
"""


def run_and_terminate(attempt: Attempt, before: str, inside: str, times: int = 1) -> Finished:
    """Start a loop, send SIGTERM once it is ready, wait for its end."""
    program = attempt.program(LOOP.format(before=before, inside=inside))
    with attempt.started([str(program)]) as process:
        ready(process)
        for _ in range(times):
            terminate(process)
        return attempt.end(process)


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


# --- The order itself --------------------------------------------------------------------------------------------
def test_the_first_save_confirmed_after_sigterm_ends_the_program_with_75(attempt: Attempt) -> None:
    done = run_and_terminate(attempt, "", "stop.after_commit()")
    assert done.code == 75, done
    assert done.document == Document(
        attempt=1, fence=1, stop_requested=True, reason="StopRequested", message="stop requested and progress saved"
    )
    assert "SIGTERM: this attempt has to stop; it ends with its next save" in done.err
    assert "Traceback" not in done.err


def test_sigterm_alone_ends_nothing_and_is_in_the_document_at_once(attempt: Attempt) -> None:
    program = attempt.program(LOOP.format(before="", inside=""))
    with attempt.started([str(program)]) as process:
        ready(process)
        terminate(process)
        wait_for(lambda: (found := attempt.document) is not None and found.stop_requested, "stopRequested")
        assert process.poll() is None


def test_a_save_confirmed_in_the_background_ends_the_program_at_the_next_save(attempt: Attempt) -> None:
    done = run_and_terminate(attempt, "", "stop.note_commit(); stop.before_save()")
    assert done.code == 75, done


def test_a_save_begun_but_not_confirmed_ends_nothing(attempt: Attempt) -> None:
    inside = "stop.before_save()\n    if stop.requested(): break"
    done = run_and_terminate(attempt, "", inside)
    assert (done.code, done.out) == (0, "end of the loop\n"), done


def test_a_program_that_asks_decides_itself(attempt: Attempt) -> None:
    inside = "stop.after_commit()\n    if stop.preemption_requested(): break"
    done = run_and_terminate(attempt, "assert not stop.preemption_requested()", inside)
    assert (done.code, done.out) == (0, "end of the loop\n"), done
    assert done.document is not None
    assert done.document.stop_requested


def test_a_program_with_a_callback_decides_itself_and_is_called_once(attempt: Attempt) -> None:
    before = "asked = []\nstop.on_preemption(lambda: asked.append(1))"
    inside = "stop.after_commit()\n    if asked: break"
    done = run_and_terminate(attempt, before, inside + "\nprint(len(asked))", times=3)
    assert (done.code, done.out) == (0, "1\nend of the loop\n"), done


def test_a_callback_may_wait_for_a_save_that_it_interrupted(attempt: Attempt) -> None:
    """The main thread holds a lock all the time: a callback run inside the handler would wait for ever."""
    before = (
        "import threading\nlock = threading.Lock()\nsaved = []\n"
        "def last_save():\n    with lock: saved.append(1)\n"
        "stop.on_preemption(last_save)"
    )
    inside = "\n    with lock: time.sleep(0.05)\n    if saved: break"
    done = run_and_terminate(attempt, before, inside)
    assert (done.code, done.out) == (0, "end of the loop\n"), done


def test_a_callback_that_fails_is_shown_and_the_next_one_runs(attempt: Attempt) -> None:
    before = "asked = []\nstop.on_preemption(lambda: 1 / 0)\nstop.on_preemption(lambda: asked.append(1))"
    done = run_and_terminate(attempt, before, "\n    if asked: break")
    assert (done.code, done.out) == (0, "end of the loop\n"), done
    assert "an on_preemption callback failed" in done.err
    assert "ZeroDivisionError" in done.err


def test_the_program_waits_at_its_end_for_a_callback_that_still_saves(attempt: Attempt) -> None:
    before = (
        "from pathlib import Path\nbegun = []\n"
        "def slow():\n    begun.append(1)\n    time.sleep(0.5)\n    Path('saved').touch()\n"
        "stop.on_preemption(slow)"
    )
    done = run_and_terminate(attempt, before, "\n    if begun: break")
    assert done.code == 0, done
    assert (attempt.folder / "saved").exists()


def test_a_callback_registered_after_sigterm_is_called(attempt: Attempt) -> None:
    inside = (
        "\n    if stop.requested():\n        asked = []\n        stop.on_preemption(lambda: asked.append(1))"
        "\n        while not asked: time.sleep(0.01)\n        break"
    )
    done = run_and_terminate(attempt, "", inside)
    assert (done.code, done.out) == (0, "end of the loop\n"), done


# --- Start -------------------------------------------------------------------------------------------------------
def test_sigterm_during_a_start_aborts_it_with_75_even_when_the_program_asks_itself(attempt: Attempt) -> None:
    done = run_and_terminate(attempt, "stop.preemption_requested()", "stop.check_start()")
    assert done.code == 75, done
    assert done.document is not None
    assert done.document.reason == "StopRequested"


# --- Other handlers ----------------------------------------------------------------------------------------------
OWN_HANDLER = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('mine'))\n"


def test_a_handler_set_before_is_called_too(attempt: Attempt) -> None:
    done = run_and_terminate(attempt, OWN_HANDLER + "stop.install()", "stop.after_commit()")
    assert (done.code, done.out) == (75, "mine\n"), done


def test_a_handler_set_afterwards_is_chained_at_the_next_save(attempt: Attempt) -> None:
    done = run_and_terminate(attempt, OWN_HANDLER + "stop.before_save()", "stop.after_commit()")
    assert (done.code, done.out) == (75, "mine\n"), done


def test_a_handler_set_afterwards_that_calls_ours_is_called_once(attempt: Attempt) -> None:
    before = (
        "import signal\nours = signal.getsignal(signal.SIGTERM)\n"
        "def mine(*arguments):\n    print('mine')\n    ours(*arguments)\n"
        "signal.signal(signal.SIGTERM, mine)\nstop.before_save()"
    )
    done = run_and_terminate(attempt, before, "stop.after_commit()")
    assert (done.code, done.out) == (75, "mine\n"), done


def test_a_handler_that_exits_may_exit(attempt: Attempt) -> None:
    before = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nstop.install()"
    done = run_and_terminate(attempt, before, "")
    assert done.code == 7, done
    assert done.document is not None
    assert done.document.stop_requested


def test_a_forked_worker_can_still_be_ended_by_sigterm_and_says_nothing(attempt: Attempt) -> None:
    done = attempt.run(
        """
        import multiprocessing, os, time
        from waypost import attempt, stop
        os.register_at_fork(after_in_child=lambda: time.sleep(0.3))  # SIGTERM comes before the handling is given back
        attempt.report().update(fence=1)
        stop.install()
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        worker.start()
        worker.terminate()
        worker.join()
        print(worker.exitcode, stop.requested())
        """
    )
    assert (done.code, done.out) == (0, "-15 False\n"), done
    assert done.document == Document(attempt=1, fence=1)


def test_outside_the_main_thread_the_missing_handler_is_told(attempt: Attempt) -> None:
    done = attempt.run(
        """
        import threading
        from waypost import attempt, stop
        attempt.report()
        thread = threading.Thread(target=stop.check_start)
        thread.start()
        thread.join()
        """
    )
    assert done.code == 0, done
    assert "SIGTERM isn't noticed" in done.err


def test_without_a_contract_sigterm_stays_the_programs_own(tmp_path: Path) -> None:
    import signal

    before = signal.getsignal(signal.SIGTERM)
    stop.StopOrder().check_start()
    stop.StopOrder().before_save()
    assert signal.getsignal(signal.SIGTERM) == before


# --- Time --------------------------------------------------------------------------------------------------------
def test_the_remaining_grace_counts_from_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_CHECKPOINT_DST", "file:///x")
    monkeypatch.setenv("WAYPOST_ATTEMPT", "1")
    monkeypatch.setenv("WAYPOST_GRACE_SECONDS", "30")
    now = 100.0
    order = stop.StopOrder(clock=lambda: now)
    assert order.remaining_grace() is None
    order._since = now
    assert order.remaining_grace() == 30.0
    now = 112.5
    assert order.remaining_grace() == 17.5
    now = 200.0
    assert order.remaining_grace() == 0.0


def test_a_stop_is_raised_at_every_further_save() -> None:
    order = stop.StopOrder()
    order._since = 0.0
    order.note_commit()
    for _ in range(2):
        with pytest.raises(StopRequested) as raised:
            order.before_save()
        assert raised.value.code == 75


# --- Shells ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "warned"), [("sh", True), ("bash", True), ("busybox", True), ("python", False), ("tini", False)]
)
def test_a_shell_as_pid_1_is_warned_about(
    name: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "comm").write_text(f"{name}\n")
    assert stop.warn_about_shell(tmp_path) == warned
    assert ("keeps SIGTERM to itself" in caplog.text) == warned


def test_a_system_without_proc_is_not_warned_about(tmp_path: Path) -> None:
    assert not stop.warn_about_shell(tmp_path / "nowhere")
