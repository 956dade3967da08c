"""All that may happen to a task, and to those that take its place under its name, at random.

Kubelets, evictions, deletions, machines that are lost or cut off, refused creates, users who edit, suspend, delete and
apply again: every method in the table is one action on the `World`, drawn by a seed. Which operator acts on the world,
the decisions alone or the whole runtime, is the business of who inherits; so is how often what happens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any, ClassVar

from tests.unit.operator.promises import CLEANUP, FOREIGN, Promises
from tests.unit.operator.tasks import UID, task
from waypost.contract import Document, DocumentReason, Position
from waypost_operator.model.raw import Json

FOREGROUND = "foregroundDeletion"
ACTIONS: Mapping[str, int] = {
    # operators
    "operate": 40,
    "deliver": 12,
    "deliver_all": 16,
    "break_watch": 2,
    "sweep": 2,
    "restart": 2,
    "carry_out_late": 3,
    # pods and nodes
    "move_on": 40,
    "pass_time": 24,
    "evict": 8,
    "shut_down": 3,
    "lose_sight": 3,
    "delete": 2,
    "vanish": 1,
    "collect_ended": 3,
    "change_node": 1,
    "cut_off": 5,
    "hear_again": 3,
    "refuse": 1,
    # users
    "edit": 3,
    "suspend_or_resume": 2,
    "change_ttl": 2,
    "change_policy": 1,
    "delete_task": 1,
    "replace_task": 2,
    "delete_namespace": 1,
}
"""How often what happens, in parts of them all; each is a method."""


class Mischief(Promises, ABC):
    """One history of one name."""

    actions: ClassVar[Mapping[str, int]] = ACTIONS
    delete_odds = 0.25
    """Of a task to have deletionPolicy Delete."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        super().__init__(self.new_task(UID))
        if self.finalizers:
            self.held.add(UID)
        self.step = 0
        self.calm = False
        self.going_down: set[str] = set()
        """Pods in the middle of a graceful node shutdown."""
        self.unlabelled: set[str] = set()
        """UIDs of pods that lost their label."""
        self.trail: list[str] = []

    def happen(self) -> None:
        """One random action of anybody."""
        over = self.world.status.get("state") in ("Succeeded", "Failed")
        if self.dice.random() < (0.2 if self.world.task is None else 0.03 if over else 0.0):
            self.replace_task()  # or most of a history would tell of what is over
        action = self.dice.choices(list(self.actions), list(self.actions.values()))[0]
        self.trail.append(action)
        getattr(self, action)()
        self.check()

    def play(self, actions: int) -> None:
        """A whole history; what breaks a promise says what came before it."""
        try:
            for _ in range(actions):
                self.happen()
            self.come_to_rest()
        except AssertionError as error:
            error.add_note(f"last actions: {' '.join(self.trail[-40:])}")
            raise

    # --- pods and their machines -----------------------------------------------------------------------------
    def pass_time(self) -> None:
        self.world.now += timedelta(seconds=self.dice.choice([0.01, 1, 5, 31, 90]))
        if self.dice.random() < 0.3:
            self.world.refuse_creates = None
        self.kubelets()

    def kubelets(self) -> None:
        """What time brings: pods whose grace is over are killed and go, a node's shutdown comes to its end, labels are
        put back, garbage is collected."""
        for name in [name for name in self.world.pods if self.pod(name).uid in self.unlabelled]:
            self.world.find_again(name)
        self.unlabelled.clear()
        for name in self.going_down & set(self.within_reach()):
            self.world.end_shutdown(name)
        self.going_down.clear()
        for name in list(self.world.pods):
            pod = self.pod(name)
            if pod.deletion and pod.deletion <= self.world.now and (pod.terminal or not self.is_silent(pod)):
                if not pod.terminal and pod.running:
                    self.world.exit(name, 137)
                self.world.remove(name)
        self.collect_garbage()

    def move_on(self) -> None:
        """Every pod takes the next step of an ordinary life."""
        for name in self.within_reach():
            pod = self.pod(name)
            if not pod.node:
                self.world.bind(name, self.dice.choice(["node-1", "node-2", "node-2"]))
                if self.dice.random() < 0.5 and not self.is_silent(self.pod(name)):
                    self.world.run(name)
            elif name in self.going_down:
                self.world.end_shutdown(name)
                self.going_down.discard(name)
            elif pod.ended:
                self.world.end_straggler(name)
            elif not pod.running:
                self.world.run(name)
            elif self.calm or self.dice.random() < 0.5:
                self.end(name)
        self.clean_up()

    def end(self, name: str) -> None:
        """The program ends by itself."""
        pod = self.pod(name)
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

    def clean_up(self) -> None:
        """The clean-up pod takes a step; from its start on it deletes."""
        if CLEANUP not in self.world.pods:
            return
        pod = self.pod(CLEANUP)
        owner = str(pod.controller.get("uid"))
        if pod.terminal or self.is_silent(pod):
            return
        if not pod.node:
            self.world.bind(CLEANUP, self.dice.choice(["node-1", "node-2"]))
        elif not pod.running:
            beside = self.beside(owner)
            assert not beside, f"the store is deleted while {beside} may still write"
            self.world.run(CLEANUP)
        else:
            code = 0 if self.calm else self.dice.choice([0, 0, 1, 74])
            if code == 0:
                self.store_gone.add(owner)
            self.seen[f"clean-up ended {code}"] += 1
            self.world.exit(CLEANUP, code, phase="Running" if self.dice.random() < 0.2 else None)

    def evict(self) -> None:
        """A disruption; the program may exit with anything, 0 included, and is not complete."""
        for name in self.world.may_run:
            pod = self.pod(name)
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
            if self.pod(name).running:
                self.world.shut_down(name)
                self.going_down.add(name)

    def lose_sight(self) -> None:
        """To a watch with a label selector a pod is deleted whose label is taken away, until it is put back."""
        for name in list(self.world.pods):
            self.world.lose_sight(name)
            self.unlabelled.add(self.pod(name).uid)

    def delete(self) -> None:
        for name in self.world.may_run:
            self.world.delete_pod(name, self.pod(name).uid)

    def vanish(self) -> None:
        """Forced deletion, or its node and the pod collector."""
        for name in list(self.world.pods):
            self.world.remove(name)

    def collect_ended(self) -> None:
        for name in list(self.world.pods):
            if self.pod(name).terminal:
                self.world.remove(name)

    def change_node(self) -> None:
        self.hear_again()
        self.world.nodes["node-1"] = self.dice.choice(["ready", "not ready", "forbidden"])

    def cut_off(self) -> None:
        """A machine goes silent for minutes: its pods are evicted, and nobody there hears of it."""
        if "node-1" not in self.silent or self.silent["node-1"][1] is not None:
            self.world.cut_off("node-1")
            self.silent["node-1"] = (self.world.now, None)
        for name in self.world.may_run:
            pod = self.pod(name)
            if pod.node == "node-1" and not pod.deletion and self.dice.random() < 0.8:
                self.world.disrupt(name, "DeletionByTaintManager")
        self.world.now += timedelta(seconds=self.dice.choice([1, 60, 115, 125]))
        self.kubelets()

    def hear_again(self) -> None:
        self.world.hear_again("node-1")
        if "node-1" in self.silent and self.silent["node-1"][1] is None:
            self.silent["node-1"] = (self.silent["node-1"][0], self.world.now)

    def within_reach(self) -> list[str]:
        """Pods of attempts that may still run, and of which a kubelet tells."""
        return [name for name in self.world.may_run if not self.is_silent(self.pod(name))]

    # --- the API server and the garbage collector --------------------------------------------------------------
    def refuse(self) -> None:
        self.world.refuse_creates = self.dice.choice([(403, "quota"), (500, "etcd"), (422, "bad image")])

    def collect_garbage(self) -> None:
        """What the garbage collector, the namespace's, and who else holds a task do, once they come to it."""
        foreground = FOREGROUND in self.finalizers
        for name in list(self.world.pods):
            pod = self.pod(name)
            orphan = not pod.owned_by(self.uid)
            if (orphan or foreground or self.world.namespace_terminating) and not pod.deletion:
                self.world.delete_pod(name, pod.uid)
        if foreground and not any(self.pod(name).owned_by(self.uid) for name in self.world.pods):
            self.world.collect(FOREGROUND)
        if self.finalizers == [FOREIGN] and self.deleting(self.uid) and (self.calm or self.dice.random() < 0.3):
            self.held.discard(self.uid)
            self.world.collect(FOREIGN)

    # --- users -------------------------------------------------------------------------------------------------
    def new_task(self, uid: str) -> Json:
        """A task with limits of time, each with some odds; now and then held by somebody else."""
        short_and_long = {
            "activeDeadlineSeconds": (30, 300),
            "attemptDeadlineSeconds": (20, 200),
            "pendingDeadlineSeconds": (2, 20),
        }
        limits: dict[str, Any] = {
            limit: self.dice.choice(either) for limit, either in short_and_long.items() if self.dice.random() < 0.08
        }
        if self.dice.random() < 0.5:
            limits["ttlSecondsAfterFinished"] = self.dice.choice([0, 20, 100])
        policy = "Delete" if self.dice.random() < self.delete_odds else "Retain"
        limits["checkpoint"] = {"uri": "s3://bucket/runs", "deletionPolicy": policy}
        failures = self.dice.choice([0, 2, 5])
        body = task(uid=uid, max_failures=failures, initial_seconds=2, max_seconds=30, **limits)
        if self.dice.random() < 0.15:
            body["metadata"]["finalizers"] = [FOREIGN]
        return body

    def edit(self) -> None:
        self.world.refuse_creates = None
        self.change_spec(container="main")

    def suspend_or_resume(self) -> None:
        if self.world.task is not None:
            self.suspended.add(self.uid)
            self.change_spec(suspend=not self.world.task["spec"].get("suspend", False))

    def change_ttl(self) -> None:
        self.change_spec(ttlSecondsAfterFinished=self.dice.choice([None, 0, 20, 100]))

    def change_policy(self) -> None:
        policy = self.dice.choice(["Delete", "Delete", "Retain"])
        self.change_spec(checkpoint={"uri": "s3://bucket/runs", "deletionPolicy": policy})

    def change_spec(self, **changes: object) -> None:
        if self.world.task is not None:
            self.world.edit_spec(**changes)

    def delete_task(self) -> None:
        if not self.deleting(self.uid) and self.dice.random() < 0.4:
            self.world.ask_to_delete_task(*([FOREGROUND] if self.dice.random() < 0.3 else []))

    def replace_task(self) -> None:
        """`kubectl replace --force`: the namesake comes while its predecessor's pods are still there."""
        if not self.deleting(self.uid):
            self.world.ask_to_delete_task()
        if self.world.task is not None or self.world.namespace_terminating:
            return
        uid = f"{len(self.uids):08d}{UID[8:]}"
        self.seen["namesake"] += 1
        if self.world.may_run:
            self.seen["namesake while a pod of the old task may run"] += 1
        self.world.apply_again(self.new_task(uid))
        self.uids.append(uid)
        if self.finalizers:
            self.held.add(uid)

    def delete_namespace(self) -> None:
        if not self.deleting(self.uid) and self.dice.random() < 0.1:
            self.world.namespace_terminating = True
            self.world.ask_to_delete_task()

    # --- the end -----------------------------------------------------------------------------------------------
    def come_to_rest(self) -> None:
        """No more mischief: the task must reach its end by nothing but time, the watch and the periodic list."""
        self.calm = True
        self.world.refuse_creates = None
        self.hear_again()
        self.world.nodes["node-1"] = "ready"
        self.carry_out_late()
        if any(entry["reason"] == "TemplateInvalid" for entry in self.world.status.get("conditions", [])):
            self.change_spec()
        self.wake_operators()
        for _ in range(400):
            self.let_operators_work()
            self.check()
            if self.at_rest():
                return
            held_up = self.world.status.get("state") == "Suspended" and not self.deleting(self.uid)
            if held_up and not self.world.alive(self.uid):
                self.change_spec(suspend=False)
                continue
            if self.caught_up() and not self.deleting(self.uid):
                self.not_alone()
                self.strays_are_on_their_way_out()
            self.kubelets()
            self.move_on()
            self.check()
            if self.caught_up():
                self.world.now = max(self.next_due() or self.world.now, self.world.now + timedelta(seconds=1))
        raise AssertionError(f"no end in sight: {self.world.task}, {list(self.world.pods)}")

    def at_rest(self) -> bool:
        """The task is over and stays, or it is gone and forgotten; nothing of it, or of those before it, may run."""
        if self.world.may_run or not self.caught_up():
            return False
        if self.world.task is None:
            assert not self.kept_in_mind(), "an operator keeps what it knows of a task that is gone"
            return True
        stays = self.world.task["spec"].get("ttlSecondsAfterFinished") is None and not self.deleting(self.uid)
        return stays and self.world.status.get("state") in ("Succeeded", "Failed")

    def not_alone(self) -> None:
        """An unfinished task has a pod, or a time at which somebody looks at it again."""
        assert self.world.alive(self.uid) or self.next_due(), f"left alone: {self.world.status}"

    def strays_are_on_their_way_out(self) -> None:
        """Once all was told, what may still run and isn't the current attempt's has been asked to stop."""
        for name in set(self.world.alive(self.uid)) - {f"train-{self.world.status.get('attempt')}"}:
            assert self.pod(name).deletion, f"{name} is left running"

    # --- operators ---------------------------------------------------------------------------------------------
    @abstractmethod
    def operate(self) -> None:
        """An operator takes a few steps, and may die of any."""

    @abstractmethod
    def deliver(self) -> None:
        """The watch tells a little."""

    @abstractmethod
    def deliver_all(self) -> None:
        """The watch tells all there is to tell."""

    @abstractmethod
    def break_watch(self) -> None:
        """What happened meanwhile is never told."""

    @abstractmethod
    def sweep(self) -> None:
        """An operator lists everything."""

    @abstractmethod
    def restart(self) -> None:
        """The next operator starts from a list that may be old."""

    @abstractmethod
    def carry_out_late(self) -> None:
        """A create that got no answer is carried out after all, if its name is free."""

    @abstractmethod
    def wake_operators(self) -> None:
        """Faults end; every operator looks at everything once."""

    @abstractmethod
    def let_operators_work(self) -> None:
        """Tell them everything, and let them do all there is to do now."""

    @abstractmethod
    def caught_up(self) -> bool:
        """All was told to all of them."""

    @abstractmethod
    def next_due(self) -> datetime | None:
        """When one of them looks at the task again by itself."""

    @abstractmethod
    def kept_in_mind(self) -> bool:
        """Whether any of them still keeps something of a task of this name."""
