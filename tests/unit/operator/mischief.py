"""All that may happen to one task, at random, and what must hold all the same.

Kubelets, evictions, deletions, machines that are lost or cut off, refused creates, spec edits: every method is one
action on the `World`, drawn by a seed. The invariants are checked against that truth, never against what an operator
believes. Which operator acts on the world, the decisions alone or the whole runtime, is the business of who inherits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.unit.operator.tasks import UID, task
from tests.unit.operator.world import World
from waypost.contract import Document, DocumentReason, Position
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json

SILENCE = timedelta(seconds=120)
"""spec.replaceUnreachableAfterSeconds by default."""


class Mischief:
    """One world, and its accidents."""

    looked_within = timedelta(seconds=10)
    """How old the live looks may be by which a pod of a silent machine is left behind."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        limits = self.limits_of_time()
        body = task(max_failures=self.dice.choice([0, 2, 5]), initial_seconds=2, max_seconds=30, **limits)
        self.world = World(body)
        self.step = 0
        self.checked = 0
        self.calm = False
        self.late: set[str] = set()
        """UIDs of pods made by a create that was right when it was sent, and was carried out long after."""
        self.left_behind: set[str] = set()
        """UIDs of pods of a machine that was silent for long enough: another pod was rightly created beside them."""
        self.silent: dict[str, tuple[datetime, datetime | None]] = {}
        """By node: since when nothing was heard of it, and until when."""
        self.going_down: set[str] = set()
        """Pods in the middle of a graceful node shutdown."""
        self.trail: list[str] = []
        self.asked_to_suspend = False

    # --- what may happen -------------------------------------------------------------------------------------
    def pass_time(self) -> None:
        self.world.now += timedelta(seconds=self.dice.choice([0.01, 1, 5, 31, 90]))
        self.kubelets()

    def kubelets(self) -> None:
        """Pods whose grace is over are killed and go; a node's shutdown comes to its end."""
        for name in self.going_down & set(self.within_reach()):
            self.world.end_shutdown(name)
        self.going_down.clear()
        for name, raw in list(self.world.pods.items()):
            pod = Pod(raw, self.world.now)
            if pod.deletion and pod.deletion <= self.world.now and (pod.terminal or not self.is_silent(pod)):
                if not pod.terminal and pod.running:
                    self.world.exit(name, 137)
                self.world.remove(name)

    def move_on(self) -> None:
        """A pod takes the next step of an ordinary life."""
        for name in self.within_reach():
            pod = Pod(self.world.pods[name], self.world.now)
            if not pod.node:
                self.world.bind(name, self.dice.choice(["node-1", "node-2"]))
            elif name in self.going_down:
                self.world.end_shutdown(name)
                self.going_down.discard(name)
            elif pod.ended:
                self.world.end_straggler(name)
            elif not pod.running:
                self.world.run(name)
            else:
                self.end(name)

    def end(self, name: str) -> None:
        """The program ends by itself."""
        pod = Pod(self.world.pods[name], self.world.now)
        attempt = int(name.rpartition("-")[2])
        code = self.dice.choice([0, 1, 75, 74, 75, 1])
        self.step += self.dice.randint(0, 1)
        document = Document(
            attempt=attempt,
            fence=attempt,
            committed=Position(self.step + 1, self.step),
            completed=code == 0,
            stop_requested=pod.deletion is not None,
            reason=DocumentReason.STORAGE_ERROR if code == 74 else None,
        )
        if code == 0:
            self.world.completed.add(pod.uid)
        if code in (1, 75):
            self.world.failed.add(pod.uid)
        straggles = "Running" if self.dice.random() < 0.3 else None
        self.world.exit(name, code, document if self.dice.random() < 0.8 or code == 0 else None, phase=straggles)

    def evict(self) -> None:
        """A disruption; the program may exit with anything, 0 included, and is not complete."""
        for name in self.world.alive(UID):
            pod = Pod(self.world.pods[name], self.world.now)
            if pod.deletion:
                continue
            self.world.disrupt(name, self.dice.choice(["EvictionByEvictionAPI", "DeletionByTaintManager"]))
            if name in self.within_reach() and pod.running and self.dice.random() < 0.7:
                self.step += self.dice.randint(0, 1)
                attempt = int(name.rpartition("-")[2])
                said = Document(attempt=attempt, fence=1, committed=Position(self.step + 1, self.step))
                self.world.exit(name, self.dice.choice([0, 143, 1]), self.dice.choice([said, None]))

    def shut_down(self) -> None:
        for name in self.within_reach():
            if Pod(self.world.pods[name], self.world.now).running:
                self.world.shut_down(name)
                self.going_down.add(name)

    def lose_sight(self) -> None:
        for name in list(self.world.pods):
            self.world.lose_sight(name)

    def delete(self) -> None:
        for name in self.world.alive(UID):
            self.world.delete_pod(name, self.world.pods[name]["metadata"]["uid"])

    def vanish(self) -> None:
        """Forced deletion, or its node and the pod collector."""
        for name in list(self.world.pods):
            self.world.remove(name)

    def collect_ended(self) -> None:
        for name, raw in list(self.world.pods.items()):
            if Pod(raw, self.world.now).terminal:
                self.world.remove(name)

    def change_node(self) -> None:
        self.hear_again()
        self.world.nodes["node-1"] = self.dice.choice(["ready", "not ready", "forbidden"])

    def cut_off(self) -> None:
        """A machine goes silent for minutes: its pods are evicted, and nobody there hears of it."""
        if "node-1" not in self.silent or self.silent["node-1"][1] is not None:
            self.world.cut_off("node-1")
            self.silent["node-1"] = (self.world.now, None)
        for name in self.world.alive(UID):
            pod = Pod(self.world.pods[name], self.world.now)
            if pod.node == "node-1" and not pod.deletion and self.dice.random() < 0.8:
                self.world.disrupt(name, "DeletionByTaintManager")
        self.world.now += timedelta(seconds=self.dice.choice([1, 60, 115, 125]))
        self.kubelets()

    def hear_again(self) -> None:
        self.world.hear_again("node-1")
        if "node-1" in self.silent and self.silent["node-1"][1] is None:
            self.silent["node-1"] = (self.silent["node-1"][0], self.world.now)

    def refuse(self) -> None:
        self.world.refuse_creates = self.dice.choice([None, None, (403, "quota"), (500, "etcd"), (422, "bad image")])

    def edit(self) -> None:
        self.world.refuse_creates = None
        self.world.edit_spec(container="main")

    def suspend_or_resume(self) -> None:
        assert self.world.task is not None
        self.asked_to_suspend = True
        self.world.edit_spec(suspend=not self.world.task["spec"].get("suspend", False))

    def limits_of_time(self) -> dict[str, Any]:
        """Deadlines of the task, each with some odds."""
        short_and_long = {"activeDeadline": (30, 300), "attemptDeadline": (20, 200), "pendingDeadline": (2, 20)}
        chosen = [limit for limit in short_and_long if self.dice.random() < 0.08]
        return {f"{limit}Seconds": self.dice.choice(short_and_long[limit]) for limit in chosen}

    # --- the truth about pods --------------------------------------------------------------------------------
    def within_reach(self) -> list[str]:
        """Pods that may still run, and of which a kubelet tells."""
        names = self.world.alive(UID)
        return [name for name in names if not self.is_silent(Pod(self.world.pods[name], self.world.now))]

    def is_silent(self, pod: Pod) -> bool:
        return pod.node in self.silent and self.silent[pod.node][1] is None

    def may_be_left(self, pod: Pod) -> bool:
        """By the truth of the last moments: past its grace, on a machine that had been silent for long enough."""
        since, until = self.silent.get(pod.node, (self.world.now, None))
        seen = until or self.world.now
        long_enough = seen - since >= SILENCE and self.world.now - seen <= self.looked_within
        return long_enough and pod.deletion is not None and pod.deletion <= self.world.now

    def alive(self) -> list[str]:
        """Pods that may still run, but for those that no operator could know of and those rightly left behind."""
        excused = self.late | self.left_behind
        return [name for name in self.world.alive(UID) if self.world.pods[name]["metadata"]["uid"] not in excused]

    def created_beside(self, others: list[str]) -> list[str]:
        """A pod was created while these may run: those that may not be left behind; the rest are remembered."""
        pods = [Pod(self.world.pods[name], self.world.now) for name in others]
        self.left_behind |= {pod.uid for pod in pods if self.may_be_left(pod)}
        return [pod.name for pod in pods if not self.may_be_left(pod)]

    # --- what must hold --------------------------------------------------------------------------------------
    def check(self) -> None:
        """The invariants, against the truth."""
        assert len(self.alive()) <= 1, f"two pods of one task may run: {self.alive()}"
        for _, before, after in self.world.written[self.checked :]:
            for number in check_write(before, after):
                ended = next(entry for entry in after["attempts"] if entry["attempt"] == number)
                self.check_truth(ended, str(before.get("podUID")))
        self.checked = len(self.world.written)

    def check_truth(self, ended: Json, judged: str) -> None:
        """The verdict about an attempt, on the pod of that UID, against what really happened to its pods."""
        name = f"train-{ended['attempt']}"
        uids = {pod["metadata"]["uid"] for pod in self.world.created if pod["metadata"]["name"] == name}
        assert uids, f"{name} was judged and never created"
        if ended["outcome"] == "Completed":
            assert uids & self.world.completed, f"{name} is called complete and never was"
        if ended["outcome"] == "Failed":
            assert uids & self.world.failed, f"{name} is called a failure and was none: {ended['evidence']}"
        if ended["outcome"] in ("Suspended", "DeadlineExceeded"):
            assert "stopping" in ended, f"{name} was stopped by the operator, and no order stands anywhere"
        if ended["outcome"] == "Suspended":
            assert self.asked_to_suspend, f"{name} is called suspended and nobody asked for it"
        present = self.world.pods.get(name)
        if present is not None and present["metadata"]["uid"] == judged and judged not in self.left_behind:
            pod = Pod(present, self.world.now)
            over = pod.terminal or pod.ended
            assert over or self.may_be_left(pod), f"{name} was judged while it ran"


def check_write(before: Json, after: Json) -> list[int]:
    """Counts change only in the write that sets `finished` of exactly one attempt; an end stays as it was judged.

    Returns the numbers of the attempts that this write ended.
    """
    ended_before = {entry["attempt"]: entry for entry in before.get("attempts", []) if "finished" in entry}
    ended_after = {entry["attempt"]: entry for entry in after.get("attempts", []) if "finished" in entry}
    assert all(ended_after.get(number, entry) == entry for number, entry in ended_before.items()), "judged twice"
    newly = sorted(set(ended_after) - set(ended_before))
    nothing = {"attempts": 0, "preemptions": 0, "failures": 0, "freeRetries": 0}
    old, new = before.get("counts", nothing), after["counts"]
    if not newly:
        assert old == new, f"counts changed without an end: {old} -> {new}"
    else:
        assert len(newly) == 1
        assert new["attempts"] == old["attempts"] + 1
        raised = [name for name in ("preemptions", "failures", "freeRetries") if new[name] != old[name]]
        assert len(raised) <= 1
        assert all(new[name] == old[name] + 1 for name in raised)
        outcome = ended_after[newly[0]]["outcome"]
        assert "failures" not in raised or outcome in ("Failed", "Recoverable"), f"{outcome} counts as a failure"
    assert after["attempt"] >= before.get("attempt", 0), "attempt numbers never fall"
    if after["attempt"] == before.get("attempt") and before.get("podUID"):
        assert after.get("podUID") == before["podUID"], "a recorded UID never changes"
    return newly
