"""What happens to pods, to their machines and on the API server, by itself and at random: one method an accident."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from tests.unit.operator.promises import CLEANUP, FOREIGN, Promises
from waypost.contract import Document, DocumentReason, Position
from waypost_operator.model.raw import Json

FOREGROUND = "foregroundDeletion"


class Accidents(Promises):
    """One world whose accidents a die decides."""

    def __init__(self, dice: Random, task: Json) -> None:
        super().__init__(task)
        self.dice = dice
        self.calm = False
        """No more harm is done: what goes on is what must."""
        self.step = 0
        """How far the programs have come."""
        self.going_down: set[str] = set()
        """Pods in the middle of a graceful node shutdown."""
        self.unlabelled: set[str] = set()
        """UIDs of pods that lost their label."""

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
        for name in sorted(self.going_down & set(self.within_reach())):
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
        if "node-1" not in self.silent:
            self.cut_off_from("node-1")
        for name in self.world.may_run:
            pod = self.pod(name)
            if pod.node == "node-1" and not pod.deletion and self.dice.random() < 0.8:
                self.world.disrupt(name, "DeletionByTaintManager")
        self.world.now += timedelta(seconds=self.dice.choice([1, 60, 115, 125]))
        self.kubelets()

    def hear_again(self) -> None:
        self.hear_again_of("node-1")

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
