"""Judges what the recorder wrote: who was alive when, and was a task ever left without a pod.

`alive` = the object exists and its phase is not terminal: a pod that is Terminating may still run and write, so it
counts. Two alive pods of one task UID at one moment break the promise 'single', however short it was.

A gap = the time an unfinished task had no alive pod. It may last as long as the backoff that the task's own spec
allows after so many ends in a row without progress, plus 30 s. Progress is read here from the pods' termination
messages, not from what the operator wrote into the task's status.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from waypost import contract

TERMINAL = ("Succeeded", "Failed")
GAP_SECONDS = 30.0
"""What the operator may take on top of the backoff, restarts and stalls included."""
DEFAULT_BACKOFF = (10.0, 600.0)


@dataclasses.dataclass
class PodLife:
    """One pod, by its UID: a second pod of the same name is another life."""

    name: str
    uid: str
    task_uid: str
    attempt: int
    created: float
    node: str | None = None
    phase: str = "Pending"
    terminal: float | None = None
    gone: float | None = None
    exit_code: int | None = None
    disruption: str | None = None
    document: contract.Document | None = None

    @property
    def ended(self) -> float | None:
        """When it stopped being alive: terminal phase or disappearance, whichever was seen first."""
        return self.terminal if self.terminal is not None else self.gone

    def see(self, pod: dict[str, Any], at: float) -> None:
        """Take over what a newer version of the object says."""
        status = pod.get("status", {})
        self.node = pod["spec"].get("nodeName") or self.node
        self.phase = status.get("phase", self.phase)
        for condition in status.get("conditions", ()):
            if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
                self.disruption = condition.get("reason")
        container = task_container(pod)
        for one in status.get("containerStatuses", ()):
            terminated = one.get("state", {}).get("terminated")
            if one["name"] == container and terminated is not None:
                self.exit_code = terminated.get("exitCode")
                self.document = contract.Document.parse(terminated.get("message"))
        if self.phase in TERMINAL and self.terminal is None:
            self.terminal = at


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Two or more pods of one task alive at one moment."""

    at: float
    task_uid: str
    pods: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Gap:
    """A stretch in which an unfinished task had no alive pod."""

    task: str
    after: str | None
    start: float
    end: float
    allowed: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def _covered(gap: Gap, outages: Collection[tuple[float, float]]) -> float:
    """Seconds of the gap that lie in outages, which may overlap."""
    seconds, until = 0.0, gap.start
    for start, end in sorted(outages):
        end = min(end, gap.end)
        start = max(start, until)
        if end > start:
            seconds += end - start
            until = end
    return seconds


def task_container(pod: dict[str, Any]) -> str:
    """Name of the task container: the annotation that kubectl uses too, else the first container."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(contract.ANNOTATION_DEFAULT_CONTAINER) or pod["spec"]["containers"][0]["name"])


class History:
    """The record of one namespace, replayed line by line."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self.pods: dict[str, PodLife] = {}
        self.tasks: dict[str, _TaskLife] = {}
        self.overlaps: list[Overlap] = []
        self.gaps: list[Gap] = []
        self.until = 0.0
        for line in lines:
            self._replay(line)
        for task in self.tasks.values():
            self._note_gap(task, self.until)

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a recorder's file; a last line that is still being written is left out."""
        text = path.read_text(encoding="utf-8")
        return cls(json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines())

    def lives(self, task: str) -> list[PodLife]:
        """All pods that the task of this name ever had, oldest first."""
        uids = {life.uid for life in self.tasks.values() if life.name == task}
        return sorted((pod for pod in self.pods.values() if pod.task_uid in uids), key=lambda pod: pod.created)

    def broken_promises(
        self, left_behind: Collection[str] = (), outages: Collection[tuple[float, float]] = ()
    ) -> list[str]:
        """One sentence for each moment at which two pods lived or a task was left alone; empty = all kept.

        `left_behind` are names of pods beside which a test lets another one live: their machine was cut off.
        `outages` are stretches in which a test let nobody do anything: they don't count towards a gap.
        """
        sentences = [
            f"two pods of task {self._task_name(overlap.task_uid)} alive at {overlap.at:.3f}: {', '.join(overlap.pods)}"
            for overlap in self.overlaps
            if sum(pod.split()[0] not in left_behind for pod in overlap.pods) > 1
        ]
        sentences += [
            f"task {gap.task} had no pod for {gap.seconds:.1f} s after {gap.after or 'its creation'} "
            f"(allowed: {gap.allowed:.1f} s)"
            for gap in self.gaps
            if gap.seconds - _covered(gap, outages) > gap.allowed
        ]
        return sentences

    def _replay(self, line: dict[str, Any]) -> None:
        at = self.until = max(self.until, line["at"])
        if line["kind"] not in ("Pod", contract.KIND):
            return
        see, forget, known = {
            "Pod": (self._see_pod, self._lose_pod, [uid for uid, pod in self.pods.items() if pod.gone is None]),
            contract.KIND: (self._see_task, self._lose_task, [u for u, task in self.tasks.items() if not task.gone]),
        }[line["kind"]]
        if line["type"] == "LIST":
            present = {item["metadata"]["uid"] for item in line["objects"]}
            for uid in known:
                if uid not in present:
                    forget(uid, at)
            for item in line["objects"]:
                see(item, at)
        elif line["type"] == "DELETED":
            see(line["object"], at)
            forget(line["object"]["metadata"]["uid"], at)
        else:
            see(line["object"], at)
        self._look_for_overlaps(at)

    def _see_pod(self, pod: dict[str, Any], at: float) -> None:
        labels = pod["metadata"].get("labels") or {}
        task_uid = labels.get(contract.LABEL_TASK_UID)
        if task_uid is None:
            return
        uid = pod["metadata"]["uid"]
        if uid not in self.pods:
            attempt = int(labels.get(contract.LABEL_ATTEMPT, 0))
            self.pods[uid] = PodLife(pod["metadata"]["name"], uid, task_uid, attempt, at)
        life = self.pods[uid]
        was_over = life.ended is not None
        life.see(pod, at)
        task = self.tasks.get(task_uid)
        if task is not None and life.ended is None:
            self._note_gap(task, at)
            task.alone_since = None
        if not was_over and life.ended is not None:
            self._pod_is_over(life, at)

    def _lose_pod(self, uid: str, at: float) -> None:
        life = self.pods.get(uid)
        if life is None:
            return
        was_over = life.ended is not None
        life.gone = at
        if not was_over:
            self._pod_is_over(life, at)

    def _pod_is_over(self, life: PodLife, at: float) -> None:
        task = self.tasks.get(life.task_uid)
        if task is None:
            return
        task.count_end(life)
        if not self._has_pod(life.task_uid):
            task.alone_since, task.alone_after = at, life.name

    def _see_task(self, item: dict[str, Any], at: float) -> None:
        metadata = item["metadata"]
        if metadata["uid"] not in self.tasks:
            # The two watches are not ordered against each other: its first pod may have been seen before the task.
            alone_since = None if self._has_pod(metadata["uid"]) else at
            self.tasks[metadata["uid"]] = _TaskLife(metadata["name"], metadata["uid"], alone_since)
        task = self.tasks[metadata["uid"]]
        task.read_backoff(item)
        conditions = item.get("status", {}).get("conditions", ())
        decided = any(
            condition["type"] == contract.ConditionType.SUCCEEDED and condition["status"] in ("True", "False")
            for condition in conditions
        )
        if decided or metadata.get("deletionTimestamp"):
            self._note_gap(task, at)
            task.finished, task.alone_since = True, None

    def _lose_task(self, uid: str, at: float) -> None:
        task = self.tasks.get(uid)
        if task is not None:
            self._note_gap(task, at)
            task.finished, task.gone, task.alone_since = True, True, None

    def _note_gap(self, task: _TaskLife, until: float) -> None:
        if task.finished or task.alone_since is None:
            return
        self.gaps.append(Gap(task.name, task.alone_after, task.alone_since, until, task.allowed_seconds()))

    def _has_pod(self, task_uid: str) -> bool:
        return any(pod.task_uid == task_uid and pod.ended is None for pod in self.pods.values())

    def _look_for_overlaps(self, at: float) -> None:
        alive: dict[str, list[str]] = {}
        for pod in self.pods.values():
            if pod.ended is None:
                alive.setdefault(pod.task_uid, []).append(f"{pod.name} ({pod.uid[: contract.SHORT_UID_LENGTH]})")
        for task_uid, names in alive.items():
            if len(names) > 1 and not any(
                overlap.task_uid == task_uid and overlap.pods == tuple(names) for overlap in self.overlaps
            ):
                self.overlaps.append(Overlap(at, task_uid, tuple(names)))

    def _task_name(self, uid: str) -> str:
        return self.tasks[uid].name if uid in self.tasks else uid


@dataclasses.dataclass
class _TaskLife:
    name: str
    uid: str
    alone_since: float | None
    alone_after: str | None = None
    finished: bool = False
    gone: bool = False
    backoff: tuple[float, float] = DEFAULT_BACKOFF
    highest_step: int = -1
    ends_without_progress: int = 0

    def read_backoff(self, item: dict[str, Any]) -> None:
        backoff = (item["spec"].get("failurePolicy") or {}).get("backoff") or {}
        initial, most = DEFAULT_BACKOFF
        self.backoff = (float(backoff.get("initialSeconds", initial)), float(backoff.get("maxSeconds", most)))

    def count_end(self, life: PodLife) -> None:
        committed = life.document.committed if life.document is not None else None
        step = committed.step if committed is not None and committed.step is not None else -1
        self.ends_without_progress = 0 if step > self.highest_step else self.ends_without_progress + 1
        self.highest_step = max(self.highest_step, step)

    def allowed_seconds(self) -> float:
        initial, most = self.backoff
        doublings = min(max(self.ends_without_progress - 1, 0), 30)
        return float(min(initial * 2.0**doublings, most)) + GAP_SECONDS
