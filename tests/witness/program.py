"""The witness program: a loop of steps that keeps a ledger of its own, which the SDK never touches.

It runs inside the pod, alone (from a ConfigMap), and imports nothing but `waypost` and the standard library. Each
line of the ledger is one `write` to a file opened with O_APPEND, followed by fsync, so a line that is there was
written before whatever came next, and a kill can cut the program only between lines. `ledger.py` judges them.

Its state is a chain of hashes over the steps: a state that was restored wrong, mixed or guessed shows in every digest
after it. What goes wrong is told on the command line:

    program.py --ledger /ledger/task.jsonl --steps 60 --step-seconds 0.5 --save-every 5 --end 12=exit:42@1

`--end STEP=HOW[@ATTEMPT]`, HOW one of `exit:CODE`, `error` (an uncaught exception), `recoverable` (RecoverableError),
`hang` (for ever); after STEP is done and, if it is its turn, saved. Without ATTEMPT: in each attempt
that gets there.

`--orders FOLDER` looks between two steps for a file of the pod's name there, and does once what it says:

    finish            end with this step, as at the last one
    memory:MIB        take that much memory, and keep it
    file:MIB:PATH     write that much into a file
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any

import waypost

SIGTERM_WAYS = ("sdk", "save", "save-exit-0", "exit-143", "deaf")
"""sdk: leave it to the SDK and the next regular save; save: save at once, exit 75; save-exit-0: save at once, exit 0;
exit-143: end at once; deaf: SIGTERM never arrives."""
EXIT_AFTER_SAVING = {"save": 75, "save-exit-0": 0}


class Ledger:
    """Append-only lines, each durable before `note` returns."""

    def __init__(self, path: str, attempt: int, pod: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._fixed = {"run": uuid.uuid4().hex[:12], "attempt": attempt, "pod": pod}
        self._number = 0

    def note(self, word: str, **what: Any) -> None:
        self._number += 1
        line = {"at": time.time(), "number": self._number, **self._fixed, "word": word, **what}
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        if os.write(self._descriptor, data) != len(data):
            raise OSError("the ledger took only a part of a line; its disk is full?")
        os.fsync(self._descriptor)


def work(digest: str, step: int) -> str:
    """The state after `step`, given the state before it."""
    return hashlib.sha256(f"{digest}:{step}".encode()).hexdigest()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--step-seconds", type=float, default=0.2)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--on-sigterm", choices=SIGTERM_WAYS, default="sdk")
    parser.add_argument("--end", action="append", default=[], metavar="STEP=HOW[@ATTEMPT]")
    parser.add_argument("--orders", metavar="FOLDER")
    parser.add_argument("--plain-exit", action="store_true", help="exit 0 at the end without ck.complete()")
    return parser.parse_args()


class Orders:
    """What this pod is told while it runs, by a file of its name."""

    def __init__(self, folder: str | None, pod: str, ledger: Ledger) -> None:
        self._file = os.path.join(folder, pod) if folder else None
        self._ledger = ledger
        self._obeyed = ""
        self._kept: list[bytes] = []
        self.finish = False

    def obey(self) -> None:
        """Do what is told, unless it has been done."""
        if self._file is None or not os.path.exists(self._file):
            return
        with open(self._file, encoding="utf-8") as file:
            told = file.read().strip()
        if told in ("", self._obeyed):
            return
        self._obeyed = told
        self._ledger.note("obeying", order=told)
        word, *rest = told.split(":")
        if word == "finish":
            self.finish = True
        elif word == "memory":
            self._kept += [b"x" * 2**20 for _ in range(int(rest[0]))]
        elif word == "file":
            with open(rest[1], "wb") as file_to_fill:
                file_to_fill.write(b"x" * (int(rest[0]) * 2**20))
        else:
            raise ValueError(f"no such order: {told}")


def stop_handler(ledger: Ledger, way: str) -> Callable[[int, FrameType | None], None]:
    """What the program itself does at SIGTERM; the SDK, which comes first, hands on to it."""

    def handle(*_: object) -> None:
        ledger.note("told to stop")
        if way == "exit-143":
            sys.exit(128 + signal.SIGTERM)

    return handle


def end_if_told(ends: list[str], step: int, attempt: int, ledger: Ledger) -> None:
    for end in ends:
        at, _, how = end.partition("=")
        how, _, only = how.partition("@")
        if int(at) != step or (only and int(only) != attempt):
            continue
        ledger.note("ending", step=step, how=how)
        if how.startswith("exit:"):
            sys.exit(int(how.removeprefix("exit:")))
        if how == "recoverable":
            raise waypost.RecoverableError(f"told to be recoverable after step {step}")
        while how == "hang":
            time.sleep(1.0)
        raise RuntimeError(f"told to fail after step {step}")


def resume(checkpoints: waypost.Checkpoints, folder: str) -> tuple[int, str]:
    """The step and the state to go on from."""
    info = checkpoints.restore(folder)
    if info is None:
        return 0, ""
    with open(os.path.join(folder, "state.json"), encoding="utf-8") as file:
        state = json.load(file)
    if state["step"] != info.step:
        raise AssertionError(f"the checkpoint is labelled step {info.step} and holds step {state['step']}")
    return state["step"], state["digest"]


def save(checkpoints: waypost.Checkpoints, folder: str, step: int, digest: str, ledger: Ledger) -> None:
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "state.json"), "w", encoding="utf-8") as file:
        json.dump({"step": step, "digest": digest}, file)
    ledger.note("saving", step=step)
    try:
        checkpoints.save(folder, step=step, wait=True)
    except waypost.StopRequested:  # raised once the save is confirmed, and only then
        ledger.note("saved", step=step)
        raise
    ledger.note("saved", step=step)


def main() -> None:
    told = arguments()
    attempt, pod = int(os.environ["WAYPOST_ATTEMPT"]), os.uname().nodename
    ledger = Ledger(told.ledger, attempt, pod)
    if told.on_sigterm == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # before any library starts a thread
    else:
        signal.signal(signal.SIGTERM, stop_handler(ledger, told.on_sigterm))
    ledger.note("started")
    orders = Orders(told.orders, pod, ledger)
    with waypost.Checkpoints() as checkpoints:
        step, digest = resume(checkpoints, "/tmp/restored")
        ledger.note("resumed", step=step, digest=digest)
        print(f"attempt {attempt}: resumed at step {step} of {told.steps}", flush=True)
        while step < told.steps and not orders.finish:
            orders.obey()
            step += 1
            ledger.note("begin", step=step)
            time.sleep(told.step_seconds)
            digest = work(digest, step)
            ledger.note("done", step=step, digest=digest)
            stop = told.on_sigterm in EXIT_AFTER_SAVING and waypost.preemption_requested()
            last = step == told.steps or orders.finish
            if step % told.save_every == 0 or last or stop:
                save(checkpoints, "/tmp/state", step, digest, ledger)
                print(f"attempt {attempt}: saved step {step}", flush=True)
            if stop:
                sys.exit(EXIT_AFTER_SAVING[told.on_sigterm])
            end_if_told(told.end, step, attempt, ledger)
        if not told.plain_exit:
            checkpoints.complete()
        ledger.note("finished", step=step, digest=digest)


if __name__ == "__main__":
    main()
