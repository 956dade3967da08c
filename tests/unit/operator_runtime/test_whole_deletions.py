"""Tasks that are deleted with their checkpoints, through random histories of one or two whole operators.

The same mischief as in test_whole_operators, and a user who deletes the task, in the foreground or not, changes the
policy at any time, or deletes the namespace. What must hold is asked of the world, not of an operator: the store is
deleted while no pod of the task may run, the task goes after it, other people's finalizers stay, and it goes.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from tests.unit.operator.tasks import UID
from waypost import contract
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import moment
from waypost_operator.policy.cleanup import RETRIES_END_AFTER
from waypost_operator.runtime.client import Accepted

from .stepped import Process, Request
from .test_whole_operators import ACTIONS, TOLD_WITHIN, Confirmed, Histories

pytestmark = pytest.mark.usefixtures("no_errors")

SEEDS = range(100)
CLEANUP = contract.cleanup_pod_name("train")
FOREIGN = "example.com/hold"
FOREGROUND = "foregroundDeletion"


class Deletions(Histories):
    """One random history at whose end there is nothing left."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.set_policy("Delete")
        self.held_by_others = self.dice.random() < 0.3
        if self.held_by_others:
            assert self.world.task is not None
            self.world.task["metadata"]["finalizers"] = [FOREIGN]
            self.world.edit_spec()
        self.store_gone = False
        self.told_deleting: dict[int, bool] = {}
        """Whether the API server last told this process that the task is being deleted."""
        self.acting: Process | None = None
        self.judged_releases = 0
        self.seen: Counter[str] = Counter()

    def happen(self) -> None:
        action, weight = zip(*self.ACTIONS, *self.MORE, strict=True)
        chosen = self.dice.choices(action, weight)[0]
        self.trail.append(chosen.__name__)
        getattr(self, chosen.__name__)()
        self.check()

    # --- users and the garbage collector -----------------------------------------------------------------------
    @property
    def deleting(self) -> bool:
        return self.world.task is None or "deletionTimestamp" in self.world.task["metadata"]

    @property
    def finalizers(self) -> list[str]:
        return list((self.world.task or {}).get("metadata", {}).get("finalizers", []))

    def set_policy(self, policy: str) -> None:
        self.world.edit_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": policy})

    def delete_task(self) -> None:
        if not self.deleting and self.dice.random() < 0.4:
            self.world.ask_to_delete_task(*([FOREGROUND] if self.dice.random() < 0.3 else []))

    def delete_namespace(self) -> None:
        if not self.deleting and self.dice.random() < 0.1:
            self.world.namespace_terminating = True
            self.world.ask_to_delete_task()

    def change_policy(self) -> None:
        if self.world.task is not None and self.dice.random() < 0.3:
            self.set_policy(self.dice.choice(["Delete", "Delete", "Retain"]))

    def edit(self) -> None:
        if self.world.task is not None:
            super().edit()

    def suspend_or_resume(self) -> None:
        if self.world.task is not None:
            super().suspend_or_resume()

    MORE = ((delete_task, 3), (delete_namespace, 1), (change_policy, 1))

    def kubelets(self) -> None:
        super().kubelets()
        self.collect_garbage()

    def collect_garbage(self) -> None:
        """What the garbage collector and the namespace's do, once they come to it."""
        foreground = FOREGROUND in self.finalizers
        if self.world.task is not None and not foreground and not self.world.namespace_terminating:
            return
        for name, raw in list(self.world.pods.items()):
            pod = Pod(raw, self.world.now)
            if pod.owned_by(UID) and not pod.deletion:
                self.world.delete_pod(name, pod.uid)
        if foreground and not any(Pod(raw, self.world.now).owned_by(UID) for raw in self.world.pods.values()):
            self.world.collect(FOREGROUND)

    def move_on(self) -> None:
        super().move_on()
        self.clean_up()

    def clean_up(self) -> None:
        """The clean-up pod takes a step; from its start on it deletes."""
        raw = self.world.pods.get(CLEANUP)
        if raw is None:
            return
        pod = Pod(raw, self.world.now)
        if pod.terminal or self.is_silent(pod):
            return
        if not pod.node:
            self.world.bind(CLEANUP, self.dice.choice(["node-1", "node-2"]))
        elif not pod.running:
            assert not self.excused(), f"the store is deleted while {self.excused()} may still write"
            self.world.run(CLEANUP)
        else:
            code = 0 if self.calm else self.dice.choice([0, 1, 74])
            self.store_gone |= code == 0
            self.seen[f"clean-up ended {code}"] += 1
            self.world.exit(CLEANUP, code, phase="Running" if self.dice.random() < 0.2 else None)

    def excused(self) -> list[str]:
        """Pods that may still run, without those that may rightly be left behind at this moment."""
        return self.created_beside(self.alive())

    # --- operators ---------------------------------------------------------------------------------------------
    def carry_out(self, process: Process) -> None:
        self.acting, request = process, process.request
        assert request is not None
        super().carry_out(process)
        told_of_task = request.verb in ("GET task", "PUT status", "PATCH finalizers")
        if told_of_task and isinstance(process.answer, Accepted):
            self.told_deleting[id(process)] = self.deleting

    def created(self, request: Request, others: list[str], told: Confirmed | None) -> None:
        if request.name == CLEANUP:
            beside = self.created_beside(others)
            assert not beside, f"a clean-up pod was created while {beside} may still write"
            self.seen["clean-up pod"] += 1
        elif self.deleting:
            assert told is not None, f"created {request.name}, never having asked"
            assert not self.told_deleting.get(id(self.acting), True), f"created {request.name} of a deleted task"
            assert request.sent - told.at <= TOLD_WITHIN, f"created {request.name} by what it was told at {told.at}"
            self.seen["overtaken by the deletion"] += 1
            self.late.add(self.world.created[-1]["metadata"]["uid"])
        else:
            super().created(request, others, told)

    # --- what must hold ----------------------------------------------------------------------------------------
    def check(self) -> None:
        super().check()
        for task in self.world.released[self.judged_releases :]:
            self.judge_release(task)
        self.judged_releases = len(self.world.released)
        if self.held_by_others and self.world.task is not None:
            assert FOREIGN in self.finalizers, "somebody else's finalizer went"

    def judge_release(self, task: dict[str, object]) -> None:
        """Our finalizer went: was that right, by what the task asked for and by what had really been done?"""
        spec, status = task["spec"], task.get("status") or {}
        assert isinstance(spec, dict)
        assert isinstance(status, dict)
        began = moment(status.get("cleanup", {}).get("started"))
        reasons = {
            "Retain": spec["checkpoint"]["deletionPolicy"] == "Retain",
            "never started": not status.get("attempt"),
            "store deleted": self.store_gone,
            "namespace goes": self.world.namespace_terminating,
            "given up": began is not None and self.world.now >= began + RETRIES_END_AFTER,
        }
        assert any(reasons.values()), f"the task goes and its store stays: {status}"
        self.seen[next(reason for reason, holds in reasons.items() if holds)] += 1

    # --- the end -----------------------------------------------------------------------------------------------
    def come_to_rest(self) -> None:
        """No more mischief: the deleted task must go, by nothing but time, the watch and the periodic list."""
        self.calm = True
        self.world.refuse_creates = None
        self.hear_again()
        self.world.nodes["node-1"] = "ready"
        if not self.deleting:
            self.world.ask_to_delete_task()
        self.carry_out_late()
        for process in self.processes:
            self.run_dry(process)
            process.sweep()
        for _ in range(400):
            for process in self.processes:
                process.watch()
                self.run_dry(process)
            if self.finalizers == [FOREIGN]:
                self.held_by_others = False
                self.world.collect(FOREIGN)
            if self.world.task is None and not self.world.alive(UID):
                return
            self.kubelets()
            self.move_on()
            self.check()
            if all(process.read == len(self.world.log) for process in self.processes):
                self.world.now = max(self.next_due() or self.world.now, self.world.now + timedelta(seconds=1))
        raise AssertionError(f"it is still there: {self.world.task}, {list(self.world.pods)}")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_deletion_keeps_the_promises(seed: int) -> None:
    history = Deletions(seed)
    try:
        for _ in range(ACTIONS):
            history.happen()
        history.come_to_rest()
    except AssertionError as error:
        trail = " ".join(history.trail[-40:])
        raise AssertionError(f"seed {seed}: {error}\nlast actions: {trail}") from error


def test_the_histories_see_what_they_should() -> None:
    """A check of the check."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        history = Deletions(seed)
        for _ in range(ACTIONS):
            history.happen()
        history.come_to_rest()
        seen += history.seen
    wanted = {"clean-up ended 0", "clean-up ended 1", "Retain", "never started", "store deleted", "namespace goes"}
    assert wanted <= set(seen), seen
