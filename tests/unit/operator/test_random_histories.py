"""Whatever happens, in whatever order: one pod at a time, no end counted twice, no task left alone, no false success.

Random histories of kubelets, evictions, deletions, node losses, spec edits, refused creates, a watch that lags, breaks
or repeats nothing, and an operator that is killed before or after any request or loses its answer. The invariants
are checked against the server's truth after every action, never against what the operator believes. A failing
history is named by its seed: `pytest -k 'history and 1234'` replays it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest

from tests.unit.operator.tasks import UID, task
from tests.unit.operator.world import Killed, NoAnswerError, Runtime, World
from waypost.contract import Document, DocumentReason, Position
from waypost_operator.model.decision import CreatePod, Wait
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json

SEEDS = range(200)
ACTIONS = 120
FAULT_RATE = 0.08
SHORT_RETRY = timedelta(seconds=1)


class History:
    """One random history."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.world = World(task(max_failures=self.dice.choice([0, 2, 5]), initial_seconds=2, max_seconds=30))
        self.operator = Runtime(self.world, self.dice, FAULT_RATE)
        self.step = 0
        self.checked = 0
        self.calm = False
        self.late: set[str] = set()
        """UIDs of pods made by a create that the API server carried out long after it was sent."""
        self.going_down: set[str] = set()
        """Pods in the middle of a graceful node shutdown."""
        self.trail: list[str] = []

    # --- what may happen -------------------------------------------------------------------------------------
    def happen(self) -> None:
        """One random action of anybody."""
        action, weight = zip(*self.ACTIONS, strict=True)
        chosen = self.dice.choices(action, weight)[0]
        self.trail.append(chosen.__name__)
        chosen(self)
        self.check()

    def operate(self) -> None:
        """The operator takes a few steps, and may die of any."""
        try:
            for _ in range(self.dice.randint(1, 6)):
                alive_before = self.alive()
                created_before = len(self.world.created)
                decision = self.operator.step()
                if isinstance(decision.step, CreatePod) and len(self.world.created) > created_before:
                    assert not alive_before, f"created {decision.step.name} while {alive_before} may still run"
                if isinstance(decision.step, Wait):
                    break
        except Killed:
            self.restart()
        except NoAnswerError:
            self.operator.wake_at = self.world.now + SHORT_RETRY

    def restart(self) -> None:
        """The next operator starts from a list that may be old."""
        faults = None if self.calm else self.dice
        late = self.operator.late
        self.operator = Runtime(self.world, faults, FAULT_RATE, behind=self.dice.choice([0, 0, 3, 12, 60]))
        self.operator.late = late

    def carry_out_late(self) -> None:
        """A request that got no answer is carried out after all, if it is a create of a pod whose name is free."""
        for request in self.operator.late:
            before = len(self.world.created)
            request()
            if len(self.world.created) > before:
                self.late.add(self.world.created[-1]["metadata"]["uid"])
        self.operator.late.clear()

    def alive(self) -> list[str]:
        """Pods that may still run, but for those that no operator could know of."""
        names = self.world.alive(UID)
        return [name for name in names if self.world.pods[name]["metadata"]["uid"] not in self.late]

    def deliver(self) -> None:
        self.operator.watch(self.dice.randint(1, 4))

    def deliver_all(self) -> None:
        self.operator.watch()

    def break_watch(self) -> None:
        self.operator.skip_events()

    def sweep(self) -> None:
        self.operator.sweep()

    def pass_time(self) -> None:
        self.world.now += timedelta(seconds=self.dice.choice([0.01, 1, 5, 31, 90]))
        self.kubelets()

    def kubelets(self) -> None:
        """Pods whose grace is over are killed and go; a node's shutdown comes to its end."""
        for name in self.going_down & set(self.world.alive(UID)):
            self.world.end_shutdown(name)
        self.going_down.clear()
        for name, raw in list(self.world.pods.items()):
            pod = Pod(raw, self.world.now)
            if pod.deletion and pod.deletion <= self.world.now:
                if not pod.terminal and pod.running:
                    self.world.exit(name, 137)
                self.world.remove(name)

    def move_on(self) -> None:
        """A pod takes the next step of an ordinary life."""
        for name in self.world.alive(UID):
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
            if name in self.world.pods and pod.running and self.dice.random() < 0.7:
                self.step += self.dice.randint(0, 1)
                attempt = int(name.rpartition("-")[2])
                said = Document(attempt=attempt, fence=1, committed=Position(self.step + 1, self.step))
                self.world.exit(name, self.dice.choice([0, 143, 1]), self.dice.choice([said, None]))

    def shut_down(self) -> None:
        for name in self.world.alive(UID):
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
        self.world.nodes["node-1"] = self.dice.choice(["ready", "not ready", "forbidden"])

    def refuse(self) -> None:
        self.world.refuse_creates = self.dice.choice([None, None, (403, "quota"), (500, "etcd"), (422, "bad image")])

    def edit(self) -> None:
        self.world.refuse_creates = None
        self.world.edit_spec(container="main")

    ACTIONS = (
        (operate, 30),
        (deliver, 14),
        (deliver_all, 6),
        (move_on, 20),
        (pass_time, 10),
        (evict, 4),
        (shut_down, 3),
        (lose_sight, 2),
        (carry_out_late, 2),
        (delete, 2),
        (vanish, 2),
        (collect_ended, 3),
        (break_watch, 2),
        (sweep, 2),
        (restart, 2),
        (change_node, 1),
        (refuse, 1),
        (edit, 1),
    )

    # --- what must hold --------------------------------------------------------------------------------------
    def check(self) -> None:
        """The invariants, against the truth."""
        assert len(self.alive()) <= 1, f"two pods of one task may run: {self.alive()}"
        for before, after in self.world.written[self.checked :]:
            for number in check_write(before, after):
                self.check_truth(next(entry for entry in after["attempts"] if entry["attempt"] == number))
        self.checked = len(self.world.written)

    def check_truth(self, ended: Json) -> None:
        """The verdict about an attempt against what really happened to its pods."""
        name = f"train-{ended['attempt']}"
        uids = {pod["metadata"]["uid"] for pod in self.world.created if pod["metadata"]["name"] == name}
        assert uids, f"{name} was judged and never created"
        if ended["outcome"] == "Completed":
            assert uids & self.world.completed, f"{name} is called complete and never was"
        if ended["outcome"] == "Failed":
            assert uids & self.world.failed, f"{name} is called a failure and was none: {ended['evidence']}"
        present = self.world.pods.get(name)
        if present is not None and present["metadata"]["uid"] not in self.late:
            pod = Pod(present, self.world.now)
            assert pod.terminal or pod.ended, f"{name} was judged while it ran"

    def come_to_rest(self) -> None:
        """No more mischief: the task must reach its end, or run, without anything but time and the watch."""
        self.calm = True
        self.world.refuse_creates = None
        self.world.nodes["node-1"] = "ready"
        self.operator.faults = None
        self.carry_out_late()
        if any(entry["reason"] == "TemplateInvalid" for entry in self.world.status.get("conditions", [])):
            self.world.edit_spec()
        self.operator.watch()
        if self.dice.random() < 0.5:
            self.restart()
        else:
            self.operator.sweep()
        for _ in range(400):
            self.operator.watch()
            self.operator.settle()
            self.check()
            if self.world.status.get("state") in ("Succeeded", "Failed") and not self.world.alive(UID):
                return
            self.not_alone()
            self.strays_are_on_their_way_out()
            self.kubelets()
            self.move_on()
            self.check()
            if self.operator.read == len(self.world.log):
                self.world.now = max(self.operator.wake_at or self.world.now, self.world.now + SHORT_RETRY)
        raise AssertionError(f"no end in sight: {self.world.status}")

    def strays_are_on_their_way_out(self) -> None:
        """Once all was told, what may still run and isn't the current attempt's has been asked to stop."""
        if self.operator.read == len(self.world.log):
            for name in set(self.world.alive(UID)) - {f"train-{self.world.status.get('attempt')}"}:
                assert "deletionTimestamp" in self.world.pods[name]["metadata"], f"{name} is left running"

    def not_alone(self) -> None:
        """An unfinished task has a pod, or a time at which it is looked at again."""
        wake_at: datetime | None = self.operator.wake_at
        caught_up = self.operator.read == len(self.world.log)
        assert self.world.alive(UID) or wake_at is not None or not caught_up, f"left alone: {self.world.status}"


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
    assert after["attempt"] >= before.get("attempt", 0), "attempt numbers never fall"
    if after["attempt"] == before.get("attempt") and before.get("podUID"):
        assert after.get("podUID") == before["podUID"], "a recorded UID never changes"
    return newly


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_keeps_the_promises(seed: int) -> None:
    history = History(seed)
    try:
        for _ in range(ACTIONS):
            history.happen()
        history.come_to_rest()
    except AssertionError as error:
        trail = " ".join(history.trail[-40:])
        raise AssertionError(f"seed {seed}: {error}\nlast actions: {trail}") from error


def test_the_histories_reach_every_kind_of_end() -> None:
    """A check of the check: histories that never saw a thing prove nothing about it."""
    outcomes: set[str] = set()
    states: set[str] = set()
    for seed in range(60):
        history = History(seed)
        for _ in range(ACTIONS):
            history.happen()
        for _, status in history.world.written:
            outcomes |= {entry["outcome"] for entry in status["attempts"] if "outcome" in entry}
            states.add(status["state"])
    wanted = {"Completed", "Preempted", "Recoverable", "Failed", "StorageUnavailable", "Deleted", "Unknown"}
    assert wanted <= outcomes
    assert {"Pending", "Running", "BackingOff", "Succeeded", "Failed"} <= states
