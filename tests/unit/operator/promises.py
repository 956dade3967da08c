"""What must hold whatever happens, asked of the truth (`World`), never of what an operator believes.

A task is its UID here: of two namesakes each has pods, ends and budgets of its own, and owns nothing of the other's.
Some pods are excused: one made by a create that was right when it was sent and came late, and one that was rightly left
behind on a machine of which nothing is heard.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import datetime, timedelta

from tests.unit.operator.server import Write
from tests.unit.operator.tasks import UID
from tests.unit.operator.world import World
from waypost import contract
from waypost_operator.model.pod import Pod
from waypost_operator.model.raw import Json, condition, items, mapping, moment, seconds
from waypost_operator.policy.cleanup import RETRIES_END_AFTER
from waypost_operator.steps.situation import CONFIRMED_FOR

SILENCE = timedelta(seconds=120)
"""spec.replaceUnreachableAfterSeconds by default."""
CLEANUP = contract.cleanup_pod_name("train")
FOREIGN = "example.com/hold"
"""Somebody else's finalizer."""


@dataclasses.dataclass(frozen=True)
class Told:
    """The truth when the API server last told an operator about the task of this name."""

    at: datetime
    task: str
    """Its UID."""
    deleting: bool
    attempt: int
    pod_uid: str | None
    beside: list[str]
    """Pods of it that might run then and might not be left behind."""


class Promises:
    """One world, and what is kept in it."""

    looked_within = timedelta(seconds=10)
    """How old the live looks may be by which a pod of a silent machine is left behind."""
    told_within = CONFIRMED_FOR
    """How old the word of the API server about the task may be by which a pod is created."""

    def __init__(self, task: Json) -> None:
        self.world = World(task)
        self.uids = [UID]
        """Of the task and of all that took its place, oldest first."""
        self.late: set[str] = set()
        """UIDs of pods made by a create that was right when it was sent, and was carried out long after."""
        self.left_behind: set[str] = set()
        """UIDs of pods of a machine that was silent for long enough: another pod was rightly created beside them."""
        self.given_up: set[str] = set()
        """UIDs of pods of such a machine that were rightly judged while they ran."""
        self.silent: dict[str, datetime] = {}
        """By node: since when nothing is heard of it."""
        self.heard_again: dict[str, datetime] = {}
        """By node: when the last silence ended that was long enough to leave its pods behind."""
        self.suspended: set[str] = set()
        """UIDs of tasks that somebody asked to suspend."""
        self.held: set[str] = set()
        """UIDs of tasks with somebody else's finalizer."""
        self.store_gone: set[str] = set()
        """UIDs of tasks whose clean-up pod has really done its work."""
        self.seen: Counter[str] = Counter()
        """What came to pass, for those who ask whether the histories are as bad as they should be."""
        self._booked: Counter[str] = Counter()
        self._written = self._released = self._expired = 0

    # --- the truth -------------------------------------------------------------------------------------------
    @property
    def uid(self) -> str:
        """Of the task that is there; empty when none is."""
        return str(mapping(self.world.task or {}, "metadata").get("uid", ""))

    @property
    def finalizers(self) -> list[str]:
        return list(mapping(self.world.task or {}, "metadata").get("finalizers") or [])

    def deleting(self, uid: str) -> bool:
        """The task of this UID is on its way out, or gone."""
        return not uid or uid != self.uid or "deletionTimestamp" in mapping(self.world.task or {}, "metadata")

    def pod(self, name: str) -> Pod:
        return Pod(self.world.pods[name], self.world.now)

    def is_silent(self, pod: Pod) -> bool:
        return pod.node in self.silent

    def cut_off_from(self, node: str) -> None:
        self.world.cut_off(node)
        self.silent[node] = self.world.now

    def hear_again_of(self, node: str) -> None:
        self.world.hear_again(node)
        since = self.silent.pop(node, self.world.now)
        if self.world.now - since >= SILENCE:
            self.heard_again[node] = self.world.now

    def may_be_left(self, pod: Pod) -> bool:
        """By the truth of the last moments: past its grace, on a machine that had been silent for long enough."""
        now = self.world.now
        heard_again = self.heard_again.get(pod.node)
        silent = now - self.silent.get(pod.node, now) >= SILENCE
        just_now = heard_again is not None and now - heard_again <= self.looked_within
        return (silent or just_now) and pod.deletion is not None and pod.deletion <= now

    def alive(self, uid: str) -> list[str]:
        """Pods of that task that may still run, but for those that are excused."""
        excused = self.late | self.left_behind
        return [name for name in self.world.alive(uid) if self.pod(name).uid not in excused]

    def beside(self, uid: str, name: str = "") -> list[str]:
        """Pods of that task, other than the one named, beside which nothing may be done now; the rest are remembered
        as left behind."""
        pods = [self.pod(other) for other in self.alive(uid) if other != name]
        self.left_behind |= {pod.uid for pod in pods if self.may_be_left(pod)}
        return [pod.name for pod in pods if not self.may_be_left(pod)]

    def tell(self) -> Told | None:
        """What an answer about the task, given now, tells; None when there is no task."""
        if self.world.task is None:
            return None
        uid, status = self.uid, self.world.status
        beside = [name for name in self.alive(uid) if not self.may_be_left(self.pod(name))]
        number, pod_uid = status.get("attempt", 0), status.get("podUID")
        return Told(self.world.now, uid, self.deleting(uid), number, pod_uid, beside)

    # --- what an operator does -------------------------------------------------------------------------------
    def check_created(self, told: Told | None, sent: datetime) -> None:
        """The newest pod: of a task that is there, alone, under its current number, before that one had a UID; or that
        was so when its sender was told, and it was overtaken on its way."""
        pod = Pod(self.world.created[-1], self.world.now)
        owner = str(pod.controller.get("uid"))
        beside = self.beside(owner, pod.name)
        if pod.name == CLEANUP:
            assert not beside, f"a clean-up pod was created while {beside} may still write"
            assert self.deleting(owner), "the store of a task that nobody deleted is cleaned up"
            self.seen["clean-up pod"] += 1
            return
        number, status = int(pod.name.rpartition("-")[2]), self.world.status
        there = not self.deleting(owner)
        if there and not beside and status.get("attempt") == number and not status.get("podUID"):
            return
        created = f"{pod.name} of {owner} was created {'' if there else 'after its deletion '}beside {beside}"
        assert told is not None, f"{created}, and its creator never asked"
        # A pod of the very name would have kept the request from succeeding: it is gone by now.
        was_right = (told.task, told.attempt, told.pod_uid) == (owner, number, None)
        was_right = was_right and not told.deleting and set(told.beside) <= {pod.name}
        assert was_right, f"{created}; its creator was told: {told}"
        assert sent - told.at <= self.told_within, f"{created}, by what its creator was told at {told.at}"
        self.seen["create overtaken" if there else "create overtaken by a deletion"] += 1
        self.late.add(pod.uid)

    def check_order(self, name: str, pod_uid: str) -> None:
        """An operator deletes this pod: of the current attempt only by an order that stands in status."""
        if self.deleting(self.uid) or pod_uid != self.world.status.get("podUID"):
            return
        current = self.world.status["attempts"][-1]
        assert {"stopping", "finished"} & set(current), f"{name} is deleted, and no order stands anywhere"

    # --- what must hold at any time --------------------------------------------------------------------------
    def check(self) -> None:
        for uid in self.uids:
            assert len(self.alive(uid)) <= 1, f"two pods of one task may run: {self.alive(uid)}"
        for write in self.world.written[self._written :]:
            self._check_write(write)
        for task in self.world.released[self._released :]:
            self._check_release(task)
        for task in self.world.expired[self._expired :]:
            self._check_expiry(task)
        self._written, self._released, self._expired = (
            len(of) for of in (self.world.written, self.world.released, self.world.expired)
        )
        assert self.uid not in self.held or FOREIGN in self.finalizers, "somebody else's finalizer went"

    def _check_write(self, write: Write) -> None:
        after = write.after
        newly = check_status(write.before, after)
        self._booked[write.task] += len(newly)
        counted = after["counts"]["attempts"] if "counts" in after else 0
        assert counted == self._booked[write.task], (
            f"{counted} ends are counted, {self._booked[write.task]} were booked"
        )
        made = {raw["metadata"]["uid"] for raw in self._made_for(write.task)}
        assert after.get("podUID") in {None, *made}, f"took over pod {after.get('podUID')}, which isn't its own"
        for number in newly:
            ended = next(entry for entry in after["attempts"] if entry["attempt"] == number)
            self._check_end(write, ended)

    def _made_for(self, uid: str) -> list[Json]:
        return [raw for raw in self.world.created if Pod(raw, self.world.now).owned_by(uid)]

    def _check_end(self, write: Write, ended: Json) -> None:
        """The verdict about an attempt against what really happened to its pods."""
        name = f"train-{ended['attempt']}"
        uids = {raw["metadata"]["uid"] for raw in self._made_for(write.task) if raw["metadata"]["name"] == name}
        assert uids, f"{name} was judged and never created"
        if ended["outcome"] == "Completed":
            assert uids & self.world.completed, f"{name} is called complete and never was"
        if ended["outcome"] == "Failed":
            assert uids & self.world.failed, f"{name} is called a failure and was none: {ended['evidence']}"
        if ended["outcome"] in ("Suspended", "DeadlineExceeded"):
            assert "stopping" in ended, f"{name} was stopped by the operator, and no order stands anywhere"
        if ended["outcome"] == "Suspended":
            assert write.task in self.suspended, f"{name} is called suspended and nobody asked for it"
        present, judged = self.world.pods.get(name), write.before.get("podUID")
        if present is not None and present["metadata"]["uid"] == judged and judged not in self.left_behind:
            pod = self.pod(name)
            if not pod.terminal and pod.ended is None:
                assert self.may_be_left(pod), f"{name} was judged while it ran"
                self.given_up.add(pod.uid)

    def _check_release(self, task: Json) -> None:
        """Our finalizer went: was that right, by what the task asked for and by what had really been done?"""
        status = mapping(task, "status")
        began = moment(mapping(status, "cleanup").get("started"))
        reasons = {
            "Retain": task["spec"]["checkpoint"].get("deletionPolicy") != "Delete",
            "never started": not status.get("attempt"),
            "store deleted": task["metadata"]["uid"] in self.store_gone,
            "namespace goes": self.world.namespace_terminating,
            "given up": began is not None and self.world.now >= began + RETRIES_END_AFTER,
        }
        assert any(reasons.values()), f"the task goes and its store stays: {status}"
        self.seen[f"released: {next(reason for reason, holds in reasons.items() if holds)}"] += 1

    def _check_expiry(self, task: Json) -> None:
        """An operator had the task deleted: it was over, and had been for as long as its spec says."""
        limit, status = task["spec"].get("ttlSecondsAfterFinished"), mapping(task, "status")
        assert limit is not None, "deleted by the operator, without ttlSecondsAfterFinished"
        verdict = condition(items(status, "conditions"), "Succeeded") or {}
        assert verdict.get("status") in ("True", "False"), "deleted, and it wasn't over"
        end = self.world.over.get(str(status.get("podUID")))
        if end is not None and status["podUID"] not in self.given_up:
            age = self.world.now - end.replace(microsecond=0)
            assert age >= seconds(limit), f"deleted {age} after its last program ended; the limit is {limit} s"
        self.seen["expired"] += 1


def check_status(before: Json, after: Json) -> list[int]:
    """Counts change only in the write that sets `finished` of exactly one attempt; an end stays as it was judged.

    Returns the numbers of the attempts that this write ended.
    """
    ended_before = {entry["attempt"]: entry for entry in before.get("attempts", []) if "finished" in entry}
    ended_after = {entry["attempt"]: entry for entry in after.get("attempts", []) if "finished" in entry}
    assert all(ended_after.get(number, entry) == entry for number, entry in ended_before.items()), "judged twice"
    newly = sorted(set(ended_after) - set(ended_before))
    nothing = {"attempts": 0, "preemptions": 0, "failures": 0, "freeRetries": 0}
    old, new = before.get("counts", nothing), after.get("counts", nothing)
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
    assert after.get("attempt", 0) >= before.get("attempt", 0), "attempt numbers never fall"
    if after.get("attempt") == before.get("attempt") and before.get("podUID"):
        assert after.get("podUID") == before["podUID"], "a recorded UID never changes"
    return newly
