"""The loop of a local run, with attempts that end as the test wants: numbers, environments, drills, ends."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from waypost import contract
from waypost.contract import Document, DocumentReason, Position
from waypost.local import summary
from waypost.local.budget import Why
from waypost.local.children import Child, environment
from waypost.local.drill import Drill
from waypost.local.supervise import Run
from waypost.store.retention import Retention

Script = Callable[[int], tuple[int, Document | None]]


@dataclasses.dataclass
class FakeChild:
    """An attempt that has ended already, or one that works until a signal comes."""

    code: int | None
    ended_by: tuple[int, ...] = ()
    log: list[object] = dataclasses.field(default_factory=list)

    def wait(self, timeout: float | None) -> int | None:
        self.log.append(("wait", timeout))
        return self.code

    def signal(self, number: int) -> None:
        self.log.append(("signal", number))
        if number in self.ended_by:
            self.code = 75 if number == signal.SIGTERM else -number


@dataclasses.dataclass
class FakeLauncher:
    """Writes each attempt's document where a real one would, and remembers what it was started with."""

    child: Callable[[int], tuple[FakeChild, Document | None]]
    environments: list[Mapping[str, str]] = dataclasses.field(default_factory=list)

    def start(self, env: Mapping[str, str]) -> Child:
        self.environments.append(env)
        child, document = self.child(int(env[contract.ENV_ATTEMPT]))
        if document is not None:
            document.write(env[contract.ENV_TERMINATION_LOG])
        return child


def document(attempt: int, **fields: object) -> Document:
    return dataclasses.replace(Document(attempt=attempt, fence=attempt), **fields)  # type: ignore[arg-type]  # mixed


def failing_until(last: int) -> FakeLauncher:
    def child(attempt: int) -> tuple[FakeChild, Document]:
        if attempt < last:
            return FakeChild(1), document(attempt, message="ValueError: again", reason=DocumentReason.ERROR)
        return FakeChild(0), document(attempt, completed=True, result="9")

    return FakeLauncher(child)


def test_failures_within_the_retries_end_in_completion() -> None:
    run = Run("train", failing_until(4), "file:///s", retries=3)
    assert run.run().why is Why.COMPLETED
    assert [attempt.why for attempt in run.attempts] == [Why.FAILED] * 3 + [Why.COMPLETED]


def test_one_failure_more_ends_the_run() -> None:
    run = Run("train", failing_until(5), "file:///s", retries=3)
    last = run.run()
    assert (last.why, last.ended.attempt, last.ended.exit_code) == (Why.FAILED, 4, 1)


def test_each_attempt_has_the_next_number_on_the_same_store() -> None:
    launcher = failing_until(9)
    Run("train", launcher, "file:///s", retries=3, first_attempt=7).run()
    told = [(env[contract.ENV_ATTEMPT], env[contract.ENV_CHECKPOINT_DST]) for env in launcher.environments]
    assert told == [("7", "file:///s"), ("8", "file:///s"), ("9", "file:///s")]


def test_an_attempts_environment_is_the_contract_and_ours() -> None:
    env = environment("file:///s", 2, "train", Path("/log"), 15.0, retention=Retention(keep_last=2))
    assert {name: env[name] for name in contract.ENV_NAMES if name in env} == {
        contract.ENV_CHECKPOINT_DST: "file:///s",
        contract.ENV_CHECKPOINT_SRC: "file:///s",
        contract.ENV_ATTEMPT: "2",
        contract.ENV_TASK: "train",
        contract.ENV_RETENTION: '{"keepLast": 2}',
        contract.ENV_GRACE_SECONDS: "15",
        contract.ENV_TERMINATION_LOG: "/log",
    }
    assert env["PATH"]
    assert contract.ENV_RETENTION not in environment("file:///s", 2, "train", Path("/log"), 15.0)


def drilled(kill: bool, ended_by: tuple[int, ...]) -> tuple[Run, list[FakeChild]]:
    children: list[FakeChild] = []

    def child(attempt: int) -> tuple[FakeChild, Document]:
        if attempt == 3:
            return FakeChild(0), document(attempt, completed=True)
        children.append(FakeChild(None, ended_by))
        return children[-1], document(attempt, committed=Position(attempt))

    return Run("train", FakeLauncher(child), "file:///s", retries=0, drill=Drill(2.5, kill, grace=15.0)), children


def test_the_drill_sends_sigterm_after_its_seconds_and_uses_up_no_retry() -> None:
    run, children = drilled(kill=False, ended_by=(signal.SIGTERM,))
    assert run.run().why is Why.COMPLETED
    assert [attempt.why for attempt in run.attempts] == [Why.PREEMPTED, Why.PREEMPTED, Why.COMPLETED]
    for child in children:
        assert child.log[:3] == [("wait", 2.5), ("signal", signal.SIGTERM), ("wait", 15.0)]
        assert ("signal", signal.SIGKILL) not in child.log


def test_the_drill_kills_an_attempt_that_outlives_its_grace() -> None:
    run, children = drilled(kill=False, ended_by=(signal.SIGKILL,))
    run.run()
    for child in children:
        assert child.log[:4] == [("wait", 2.5), ("signal", 15), ("wait", 15.0), ("signal", 9)]


def test_a_drill_with_kill_gives_no_grace() -> None:
    run, children = drilled(kill=True, ended_by=(signal.SIGKILL,))
    assert run.run().why is Why.COMPLETED
    for child in children:
        assert child.log[:2] == [("wait", 2.5), ("signal", signal.SIGKILL)]


def test_the_drill_gives_an_attempt_time_to_start() -> None:
    """The seconds count from the FENCE: a slow interpreter must not look like a program that saves too seldom."""

    def child(attempt: int) -> tuple[FakeChild, Document]:
        return FakeChild(1), Document(attempt=1, reason=DocumentReason.ERROR)  # ended before its FENCE

    run = Run("train", FakeLauncher(child), "file:///s", drill=Drill(0.001))
    assert run.run().why is Why.FAILED


def test_a_fenced_attempt_ends_the_run() -> None:
    launcher = FakeLauncher(lambda attempt: (FakeChild(75), document(attempt, reason=DocumentReason.FENCED)))
    assert Run("train", launcher, "file:///s", retries=5).run().why is Why.FENCED
    assert len(launcher.environments) == 1


def test_the_summary_tells_each_attempt_and_the_outcome() -> None:
    ends = {
        1: (FakeChild(75), document(1, committed=Position(4), reason="RecoverableError", message="Lost: x")),
        2: (FakeChild(0), document(2, resumed_from=Position(4), committed=Position(9, 7), completed=True, result="8")),
    }
    run = Run("train", FakeLauncher(lambda attempt: ends[attempt]), "file:///s", retries=1)
    run.run()
    assert [line.split() for line in summary.lines(run.attempts)] == [
        ["attempt", "resumed", "at", "saved", "up", "to", "seconds", "ended"],
        ["1", "the", "start", "checkpoint", "4", "0.0", "Lost:", "x"],
        ["2", "checkpoint", "4", "step", "7", "0.0", "completed"],
        ["completed:", "2", "attempts,", "0", "preemptions"],
        ["result:", "8"],
    ]
