"""What an attempt's store tells the operator, and how a stop order reaches the program through its saves.

Real processes with a real contract in their environment: the document is read as the kubelet would hand it over.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from waypost import contract
from waypost.checkpoints import Checkpoints
from waypost.contract import Document, Position


class Pod:
    """The environment of one attempt's process."""

    def __init__(self, folder: Path, attempt: int = 1, pod: str = "pod-1") -> None:
        self.store = f"file://{folder}/store"
        self.log = folder / f"termination-log-{attempt}"
        self.log.touch()
        self.environment = {
            **os.environ,
            contract.ENV_CHECKPOINT_DST: self.store,
            contract.ENV_ATTEMPT: str(attempt),
            contract.ENV_POD_UID: pod,
            contract.ENV_TERMINATION_LOG: str(self.log),
            contract.ENV_GRACE_SECONDS: "30",
        }

    def run(self, program: str) -> subprocess.CompletedProcess[str]:
        text = "import os, signal, sys, waypost\nfrom waypost import Checkpoints\n" + textwrap.dedent(program)
        return subprocess.run(
            [sys.executable, "-c", text], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def document(self) -> Document:
        found = Document.parse(self.log.read_bytes())
        assert found is not None
        return found


def test_the_document_follows_the_attempt_from_fence_to_commit(tmp_path: Path) -> None:
    first = Pod(tmp_path, 1)
    assert first.run("Checkpoints().save(b'one', step=10, wait=True)").returncode == 0
    assert (first.document.fence, first.document.committed, first.document.resumed_from) == (1, Position(2, 10), None)
    second = Pod(tmp_path, 2, "pod-2")
    done = second.run("ck = Checkpoints(); assert ck.read_bytes() == b'one'; os._exit(9)")
    assert done.returncode == 9, done.stderr
    restore = second.document.restore
    assert restore is not None
    assert restore.size_bytes == restore.moved_bytes == len(b"one")
    assert second.document == Document(attempt=2, fence=3, resumed_from=Position(2, 10), restore=restore)


def test_a_commit_stands_in_the_document_before_the_program_hears_of_it(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run("Checkpoints().save(b'one', step=1, wait=True); os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -9
    assert pod.document.committed == Position(2, 1)


def test_completed_is_written_once_complete_is_confirmed(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    assert pod.run("ck = Checkpoints(); ck.save(b'x', step=1); ck.complete()").returncode == 0
    assert pod.document.completed
    again = Pod(tmp_path, 2, "pod-2")
    done = again.run("Checkpoints(); print('ran on')")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert again.document.completed


def test_a_complete_that_can_not_be_confirmed_leaves_the_task_incomplete(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run("""
        from waypost.store import calls
        calls.Patience.pause = lambda self, trouble: False
        ck = Checkpoints()
        ck.save(b'x', wait=True)
        import errno
        def broken(*a): raise OSError(errno.EIO, "Input/output error")
        os.link = broken
        ck.complete()
    """)
    assert done.returncode == contract.EXIT_STORAGE, done.stderr
    assert not pod.document.completed
    assert pod.document.reason == contract.DocumentReason.STORAGE_ERROR


def test_a_refused_attempt_exits_75_and_names_the_highest(tmp_path: Path) -> None:
    Checkpoints(f"file://{tmp_path}/store", attempt=7).close()
    pod = Pod(tmp_path, 3)
    assert pod.run("Checkpoints()").returncode == contract.EXIT_RECOVERABLE
    assert (pod.document.reason, pod.document.highest_attempt) == (contract.DocumentReason.ATTEMPT_REFUSED, 7)


def test_storage_that_is_denied_exits_74(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    pod = Pod(tmp_path)
    assert pod.run("Checkpoints()").returncode == contract.EXIT_STORAGE
    assert pod.document.reason == contract.DocumentReason.STORAGE_ERROR


def test_damage_beyond_repair_exits_65(tmp_path: Path) -> None:
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        store.save(b"x" * 100_000, wait=True)
    for pack in (tmp_path / "store" / "packs").iterdir():
        pack.write_bytes(b"?")
    pod = Pod(tmp_path, 2)
    assert pod.run("Checkpoints().restore('out')").returncode == contract.EXIT_CORRUPT
    assert pod.document.reason == contract.DocumentReason.CORRUPT


def test_a_store_that_is_not_the_tasks_own_tells_the_operator_nothing(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run(f"Checkpoints('file://{tmp_path}/other', attempt=4).save(b'x', step=9, wait=True)")
    assert done.returncode == 0, done.stderr
    assert (pod.document.fence, pod.document.committed) == (None, None)


def test_a_foreign_store_without_an_attempt_is_only_read(tmp_path: Path) -> None:
    with Checkpoints(f"file://{tmp_path}/other", attempt=1) as other:
        other.save(b"base", wait=True)
    pod = Pod(tmp_path)
    done = pod.run(f"ck = Checkpoints('file://{tmp_path}/other'); print(ck.attempt, ck.read_bytes())")
    assert done.stdout == "None b'base'\n", done.stderr
    assert pod.document.resumed_from is None


STOP = "os.kill(os.getpid(), signal.SIGTERM)\n"


def test_after_sigterm_a_save_that_is_waited_for_ends_the_program_with_75(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run(f"ck = Checkpoints()\n{STOP}ck.save(b'last', step=5, wait=True)\nprint('ran on')")
    assert (done.returncode, done.stdout) == (contract.EXIT_RECOVERABLE, ""), done.stderr
    assert pod.document.committed == Position(2, 5)
    assert pod.document.stop_requested
    assert pod.document.reason == contract.DocumentReason.STOP_REQUESTED


def test_after_sigterm_a_background_save_ends_the_program_at_the_next_one(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run(
        f"ck = Checkpoints()\n{STOP}ck.save(b'last', step=5).result()\nprint('went on')\nck.save(b'next', step=6)\n"
        "print('ran on')"
    )
    assert (done.returncode, done.stdout) == (contract.EXIT_RECOVERABLE, "went on\n"), done.stderr
    assert pod.document.committed == Position(2, 5)


def test_a_program_that_asks_for_the_preemption_decides_itself(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run(
        f"ck = Checkpoints()\n{STOP}assert waypost.preemption_requested()\nck.save(b'last', step=5, wait=True)\n"
        "print('ran on')"
    )
    assert (done.returncode, done.stdout) == (0, "ran on\n"), done.stderr


def test_an_on_preemption_callback_may_save(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run(f"""
ck = Checkpoints()
import threading
saved = threading.Event()
@waypost.on_preemption
def save():
    ck.save(b'in the callback', step=8, wait=True)
    saved.set()
{STOP}
assert saved.wait(30)
""")
    assert done.returncode == 0, done.stderr
    assert pod.document.committed == Position(2, 8)


def test_a_restore_after_sigterm_is_aborted(tmp_path: Path) -> None:
    with Checkpoints(f"file://{tmp_path}/store", attempt=1) as store:
        store.save(b"x", wait=True)
    pod = Pod(tmp_path, 2)
    done = pod.run(f"ck = Checkpoints()\n{STOP}ck.restore('{tmp_path}/out')\nprint('ran on')")
    assert (done.returncode, done.stdout) == (contract.EXIT_RECOVERABLE, ""), done.stderr
    assert not (tmp_path / "out").exists()


# --- The end of the program ------------------------------------------------------------------------------------------


def test_a_background_save_is_stored_when_the_program_just_ends(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run("Checkpoints().save(b'x' * 10_000_000, step=4)")
    assert done.returncode == 0, done.stderr
    assert pod.document.committed == Position(2, 4)


def test_a_background_save_is_stored_when_the_program_ends_by_an_exception(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run("Checkpoints().save(b'x' * 10_000_000, step=4)\nraise RuntimeError('mine')")
    assert done.returncode == 1
    assert "RuntimeError: mine" in done.stderr
    assert pod.document.committed == Position(2, 4)


def test_a_program_whose_last_save_could_not_be_stored_does_not_exit_0(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run("""
        import errno
        ck = Checkpoints()
        def broken(*a): raise OSError(errno.EROFS, "Read-only file system")
        os.link = broken
        ck.save(b'x', step=4)
        print('last words')
    """)
    assert done.returncode == contract.EXIT_STORAGE, done.stderr
    assert done.stdout == "last words\n"
    assert "its last save could not be stored" in done.stderr
    assert pod.document.reason == contract.DocumentReason.STORAGE_ERROR


def test_a_store_that_fails_at_the_exit_keeps_no_other_from_being_stored(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run(f"""
        import errno
        ck, other = Checkpoints(), Checkpoints("file://{tmp_path}/other", attempt=1)
        link = os.link
        def broken(source, target):
            if b"/other/" not in os.fsencode(target): raise OSError(errno.EROFS, "Read-only file system")
            link(source, target)
        os.link = broken
        ck.save(b'x', step=4)
        other.save(b'y', step=5)
    """)
    assert done.returncode == contract.EXIT_STORAGE, done.stderr
    with Checkpoints(f"file://{tmp_path}/other") as reader:
        assert reader.read_bytes() == b"y"


@pytest.mark.parametrize("how", ["sys.exit(3)", "raise RuntimeError('mine')", "return"])
def test_a_background_save_of_a_thread_that_outlives_the_main_one_is_stored(tmp_path: Path, how: str) -> None:
    """The interpreter waits for threads that are no daemons, and Waypost for what they saved."""
    pod = Pod(tmp_path)
    done = pod.run(f"""
        import threading
        ck = Checkpoints()
        def work():
            threading.main_thread().join()
            ck.save(b'x' * 10_000_000, step=4)
            {how}
        threading.Thread(target=work).start()
    """)
    assert done.returncode == 0, done.stderr
    assert pod.document.committed == Position(2, 4)


@pytest.mark.parametrize("how", ["sys.exit(3)", "raise RuntimeError('mine')"])
def test_a_daemon_thread_that_has_ended_has_its_save_stored(tmp_path: Path, how: str) -> None:
    pod = Pod(tmp_path)
    done = pod.run(f"""
        import threading
        ck = Checkpoints()
        def work():
            ck.save(b'x' * 10_000_000, step=4)
            {how}
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join()
    """)
    assert done.returncode == 0, done.stderr
    assert pod.document.committed == Position(2, 4)


def test_os_exit_stores_nothing_and_harms_nothing(tmp_path: Path) -> None:
    """No code of ours runs then: what was confirmed stands, what was on its way is gone."""
    pod = Pod(tmp_path)
    done = pod.run("""
        ck = Checkpoints()
        ck.save(b'one', step=1, wait=True)
        ck.save(b'x' * 30_000_000, step=2)
        os._exit(9)
    """)
    assert done.returncode == 9, done.stderr
    with Checkpoints(pod.store) as reader:
        info = reader.latest()
        assert info is not None
        assert info.step in (1, 2)
        assert reader.restore(tmp_path / "restored") is not None


def test_an_error_that_the_program_has_seen_does_not_change_its_exit(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    done = pod.run("""
        import errno
        ck = Checkpoints()
        def broken(*a): raise OSError(errno.EROFS, "Read-only file system")
        os.link = broken
        try:
            ck.save(b'x', step=4).result()
        except waypost.StorageError as error:
            print(error.outcome)
    """)
    assert (done.returncode, done.stdout) == (0, "not saved\n"), done.stderr


@pytest.mark.parametrize("way", ["raise SystemExit(42)", "os._exit(42)"])
def test_a_confirmed_save_survives_any_end(tmp_path: Path, way: str) -> None:
    pod = Pod(tmp_path)
    assert pod.run(f"Checkpoints().save(b'x', step=4, wait=True)\n{way}").returncode == 42
    with Checkpoints(pod.store) as reader:
        latest = reader.latest()
        assert latest is not None
        assert latest.step == 4
