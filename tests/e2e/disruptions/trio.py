"""Three tasks side by side on one node, which differ in how their program takes SIGTERM; and the judge of their fate.

The tasks work until they are told to finish, so that none is over before the judge has looked for long enough, however
slow the machine is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tests.e2e.scene import Scene
from tests.e2e.tasks import quick, stepping, task
from tests.witness.history import PodLife
from tests.witness.ledger import Run
from waypost.contract import Outcome

Json = dict[str, Any]

SAVES, EXITS, DEAF = "saves", "exits", "deaf"
ON_SIGTERM = {SAVES: "save-exit-0", EXITS: "exit-143", DEAF: "deaf"}
EXIT_CODES: Mapping[str, int | None] = {SAVES: 0, EXITS: 143, DEAF: 137}
"""What the pod of each shows when it was told to stop and had its grace."""
NO_EXIT_CODES: Mapping[str, int | None] = dict.fromkeys(ON_SIGTERM)

SAVE_EVERY = 4
STEP_SECONDS = 0.25
GRACE_SECONDS = 4
WATCHED_SECONDS = 30.0
"""After the resume: so long a second replacement would have time to show itself."""
WATCH_STEP_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """How the end of a first attempt must be judged."""

    outcome: Outcome
    rule: str
    budget: str
    """The one of status.counts that the end raises."""
    evidence: str = ""
    """What the evidence must mention."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traces:
    """What an event may leave behind, which the judge of the trio has to know."""

    exit_codes: Mapping[str, int | None] | None
    """None where it depends on the moment at which the operator looks."""
    told: bool = True
    """SIGTERM came before the end."""
    hurried: bool = False
    """What came after it may have been too little for a save."""
    zombies: bool = False
    """The old process may still run when the new one has resumed: the cluster took its pod for gone."""
    left_behind: bool = False
    """The old pod's object was still there when its successor was rightly created."""
    ran: bool = True
    """The first attempt got as far as running."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table that a run of the matrix prints."""

    event: str
    manner: str
    outcome: str
    rule: str
    exit_code: int | None
    budget: str
    resumed_step: int
    redone: int
    replaced_seconds: float
    """From the provocation to the creation of the replacement."""
    resumed_seconds: float
    """From the provocation to the moment at which the replacement had resumed."""


class Trio:
    """The three tasks of one test, named after their manner."""

    def __init__(self, scene: Scene, victim: str, rows: list[Row]) -> None:
        self.scene, self.victim, self._rows = scene, victim, rows
        self.spec: Json = {}
        """Fields of the tasks' spec that this test sets."""
        self._hit_at = 0.0

    # --- The deed ----------------------------------------------------------------------------------------------
    @property
    def firsts(self) -> list[str]:
        """The pods of the first attempts."""
        return [f"{name}-1" for name in ON_SIGTERM]

    def apply(self, change: Callable[[Json], None] = lambda _: None) -> None:
        """Apply the tasks; `change` may alter the pod spec of their template."""
        self.scene.apply(*(self.body(name, change) for name in ON_SIGTERM))

    def body(self, name: str, change: Callable[[Json], None] = lambda _: None) -> Json:
        """The task of this manner. It prefers the victim, and goes elsewhere when that is harmed."""
        command = stepping(
            self.scene,
            name,
            f"--on-sigterm={ON_SIGTERM[name]}",
            "--orders=/shared",
            steps=100_000,
            every=SAVE_EVERY,
            pace=STEP_SECONDS,
        )
        body = task(self.scene, name, command, grace=GRACE_SECONDS, policy=quick())
        pod: Json = body["spec"]["template"]["spec"]
        pod["affinity"] = {"nodeAffinity": _prefers(self.victim)}
        change(pod)
        body["spec"].update(self.spec)
        return body

    def wait_saved(self) -> None:
        """Wait until each first attempt runs on the victim, has saved twice, and has done something since."""
        for name in ON_SIGTERM:
            self.scene.wait_saved(name, 2 * SAVE_EVERY)
            self.scene.wait(f"work of {name} behind its save", partial(self._works_ahead, name))
            pod = self.scene.running_pod(f"{name}-1")
            assert pod is not None
            assert pod["spec"]["nodeName"] == self.victim

    def _works_ahead(self, name: str) -> bool:
        run = self.scene.ledger(name).runs[0]
        return run.done[-1] > run.saving[-1] + 1

    def start(self, change: Callable[[Json], None] = lambda _: None) -> None:
        """Apply the tasks and wait until there is something to lose."""
        self.apply(change)
        self.wait_saved()

    def hits(self) -> None:
        """Now it happens: what the table's times are counted from."""
        self._hit_at = time.time()

    # --- The judgement -------------------------------------------------------------------------------------------
    def judge(
        self,
        event: str,
        judged: Judged | Mapping[str, Judged],
        traces: Traces,
        seconds: float = 90.0,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until each task has resumed, then ask all witnesses; `seconds` is how long that may take.

        `meanwhile` is done while the second attempts are at work.
        """
        self._wait_resumed(seconds)
        meanwhile()
        self._watch_for_more()
        for name in ON_SIGTERM:
            self.scene.order(f"{name}-2", "finish")
        for name in ON_SIGTERM:
            status = self.scene.wait_finished(name)
            resumed = self._judge_ledger(name, traces)
            self._judge_status(name, status, judged if isinstance(judged, Judged) else judged[name], traces, resumed)
            self._rows.append(self._row(event, name, status))
        left_behind = self.firsts if traces.left_behind else []
        assert self.scene.history().broken_promises(left_behind) == []

    def _wait_resumed(self, seconds: float) -> None:
        for name in ON_SIGTERM:
            self.scene.wait(f"attempt 2 of {name} to resume", partial(self._second, name), seconds)

    def _second(self, name: str) -> Run | None:
        """The process of the second attempt, once it has resumed."""
        runs = self.scene.ledger(name).runs
        return next((run for run in runs if run.attempt == 2 and run.resumed_time is not None), None)

    def _watch_for_more(self) -> None:
        """Exactly one replacement, by UID: no further pod until WATCHED_SECONDS after the last resume."""
        times = [run.resumed_time for name in ON_SIGTERM if (run := self._second(name)) and run.resumed_time]
        self._watch_pods([1, 2], max(times) + WATCHED_SECONDS)

    def stays_alone(self, seconds: float) -> None:
        """No replacement for so long."""
        self._watch_pods([1], time.time() + seconds)

    def _watch_pods(self, attempts: list[int], until: float) -> None:
        def over() -> bool:
            for name in ON_SIGTERM:
                present = [life.attempt for life in self.lives(name)]
                assert present == attempts, f"task {name} had pods of the attempts {present}, expected {attempts}"
            time.sleep(WATCH_STEP_SECONDS)
            return time.time() >= until

        self.scene.wait("the end of the watch", over, until - time.time() + 30)

    def lives(self, name: str) -> list[PodLife]:
        """All pods of this task, oldest first."""
        return self.scene.history().lives(name)

    def _judge_ledger(self, name: str, traces: Traces) -> int:
        """Nothing lost, nothing done twice beyond the last save; returns the step that was resumed at."""
        told = self.scene.ledger(name)
        assert told.finished
        assert (told.damage if traces.zombies else told.complaints) == []
        assert [run.attempt for run in told.runs] == ([1, 2] if traces.ran else [2])
        resumed = told.runs[-1].resumed_at
        assert resumed is not None
        if not traces.ran:
            assert resumed == 0
            return resumed
        first = told.runs[0]
        before = [step for step in first.saved if step <= resumed]
        unanswered = set(first.saving) - set(first.saved)  # it may have landed, and nobody lived to hear so
        assert resumed == max(before, default=0) or resumed in unanswered
        assert len(told.redone) <= SAVE_EVERY, "more was done again than lay behind the last save"
        assert first.told_to_stop == (traces.told and name != DEAF)
        if traces.told and not traces.hurried and name == SAVES:
            assert told.redone == ()
            assert resumed == first.done[-1]
        return resumed

    def _judge_status(self, name: str, status: Json, judged: Judged, traces: Traces, resumed: int) -> None:
        first, second = status["attempts"]
        assert (first["outcome"], first["rule"]) == (judged.outcome, judged.rule), first
        assert judged.evidence in first["evidence"]
        assert traces.exit_codes is None or first.get("exitCode") == traces.exit_codes[name]
        assert second["outcome"] == Outcome.COMPLETED
        counts = {count: number for count, number in status["counts"].items() if number}
        assert counts == {"attempts": 2, judged.budget: 1}
        assert second.get("resumedFrom", {}).get("step", 0) == resumed
        if first.get("committed") and not traces.zombies:
            assert first["committed"]["step"] == resumed

    def _row(self, event: str, name: str, status: Json) -> Row:
        first = status["attempts"][0]
        told, second = self.scene.ledger(name), self._second(name)
        assert second is not None
        assert second.resumed_at is not None
        assert second.resumed_time is not None
        return Row(
            event=event,
            manner=name,
            outcome=first["outcome"],
            rule=first["rule"],
            exit_code=first.get("exitCode"),
            budget=next(count for count, number in status["counts"].items() if number and count != "attempts"),
            resumed_step=second.resumed_at,
            redone=len(told.redone),
            replaced_seconds=self.lives(name)[1].created - self._hit_at,
            resumed_seconds=second.resumed_time - self._hit_at,
        )

    # --- When nothing may happen ---------------------------------------------------------------------------------
    def judge_untouched(self, seconds: float) -> None:
        """No task may have noticed anything, for `seconds` from now on; then each finishes in its first attempt."""
        self.stays_alone(seconds)
        for name in ON_SIGTERM:
            self.scene.order(f"{name}-1", "finish")
        for name in ON_SIGTERM:
            status = self.scene.wait_finished(name)
            assert [one["outcome"] for one in status["attempts"]] == [Outcome.COMPLETED]
            told = self.scene.ledger(name)
            assert told.complaints == []
            assert told.redone == ()
            assert len(told.runs) == 1
            assert not told.runs[0].told_to_stop
        assert self.scene.history().broken_promises() == []


def preempted(evidence: str, rule: str = "Disruption") -> Judged:
    """The verdict on whatever a program can't help."""
    return Judged(outcome=Outcome.PREEMPTED, rule=rule, budget="preemptions", evidence=evidence)


STOPPED = Traces(exit_codes=EXIT_CODES)
"""Told to stop by SIGTERM, and killed at the end of the pod's own grace."""


def _prefers(node: str) -> Json:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term}]}


def table(rows: list[Row]) -> list[str]:
    """The rows for a person, a line each."""
    lines = [
        f"{'event':<26} {'program':<7} {'outcome':<12} {'rule':<13} exit budget       resumed redone replaced resumed"
    ]
    lines += [
        f"{row.event:<26} {row.manner:<7} {row.outcome:<12} {row.rule:<13} "
        f"{'-' if row.exit_code is None else row.exit_code:>4} {row.budget:<12} {row.resumed_step:>7} {row.redone:>6} "
        f"{row.replaced_seconds:>7.2f}s {row.resumed_seconds:>6.2f}s"
        for row in rows
    ]
    return lines
