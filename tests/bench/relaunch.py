"""`make bench-relaunch`: from the old pod's end to the new one, under Waypost and under what else relaunches pods.

On one cluster, in one run, pods are evicted again and again through the Eviction API: those of two CheckpointedTasks,
of Jobs with the `podFailurePolicy` that ignores disruptions (the usual advice), and of a StatefulSet. All get the same
image, and each is evicted as soon as it has run for a while; a task also has to have saved something, since a relaunch
without progress waits on purpose. The Jobs' and the StatefulSet's program ends with 143, because a Job whose pod
exits 0 on SIGTERM counts as complete.

The times are those of an observer who watches all pods over one connection and writes down when he saw what
(`creationTimestamp` has a resolution of a second). Between the two events lie the operator's own watch, its decision,
one status write and one create.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import ClusterError, provider
from tests.cluster.waiting import wait_for
from tests.e2e.scene import Scene
from tests.e2e.stage import IMAGE, Stage
from tests.e2e.tasks import stepping, task
from tests.witness.history import TERMINAL

Json = dict[str, Any]
RAN_SECONDS = 1.0
"""How long a pod has run before it is evicted."""
PATIENCE_SECONDS = 900.0
SUBJECT = "bench-subject"
_RUN_IS_OVER: Json = {"kind": "no pod"}
ENDS_WITH_143 = ["python", "-c", "import signal, sys; signal.signal(15, lambda *_: sys.exit(143)); signal.pause()"]


@dataclass
class Life:
    """One pod as the observer saw it; times in seconds."""

    name: str
    created: float
    running: float | None = None
    over: float | None = None


@dataclass
class Subject:
    """One thing that relaunches its pod; `ready` tells that the running pod of this name may be evicted."""

    kind: str
    name: str
    ready: Callable[[str], bool] = field(default=lambda _: True)


def lives(record: Iterable[Json], subject: str) -> list[Life]:
    """The pods of a subject, oldest first, from what the recorder wrote."""
    found: dict[str, Life] = {}
    for line in record:
        if line["kind"] != "Pod":
            continue
        for pod in line.get("objects", [line.get("object")]):
            metadata = pod["metadata"]
            if (metadata.get("labels") or {}).get(SUBJECT) != subject:
                continue
            life = found.setdefault(metadata["uid"], Life(metadata["name"], line["at"]))
            phase = pod["status"].get("phase")
            if life.running is None and phase == "Running":
                life.running = line["at"]
            if life.over is None and (phase in TERMINAL or line["type"] == "DELETED"):
                life.over = line["at"]
    return sorted(found.values(), key=lambda life: life.created)


def relaunches(of: list[Life]) -> list[tuple[float, float]]:
    """For each pod but the first: seconds from its predecessor's end to its creation, and to its running."""
    return [
        (after.created - before.over, after.running - before.over)
        for before, after in itertools.pairwise(of)
        if before.over is not None and after.running is not None
    ]


class _Saves:
    """Which attempts have saved, by a ledger that is read on from where it was left.

    The observer shares its interpreter with whoever asks this twenty times a second: judging the whole ledger each
    time, longer with every attempt, showed as slower relaunches.
    """

    def __init__(self, texts: Callable[[], list[str]]) -> None:
        self._texts, self._read, self._attempts = texts, Counter[int](), set[int]()

    def attempts(self) -> set[int]:
        for node, text in enumerate(self._texts()):
            end = text.rfind("\n") + 1
            lines = map(json.loads, text[self._read[node] : end].splitlines())
            self._attempts |= {line["attempt"] for line in lines if line["word"] == "saved"}
            self._read[node] = end
        return self._attempts


class Stand:
    """The subjects on the stage, and the threads that evict their pods."""

    def __init__(self, scene: Scene, through: int, jobs: int) -> None:
        self.scene, self.through = scene, through
        self.subjects = [self._task("task-a"), self._task("task-b")]
        self.subjects += [self._job(f"job-{number}") for number in range(1, jobs + 1)]
        self.subjects.append(self._stateful_set("set"))
        self._over = threading.Event()
        self.troubles: list[str] = []

    def run(self) -> None:
        """Evict until both tasks have been relaunched `through` times; the others get what time that leaves."""
        tasks = [subject for subject in self.subjects if subject.kind == "Waypost"]
        drivers = [threading.Thread(target=self._drive, args=(one, self.through)) for one in tasks]
        others = [threading.Thread(target=self._drive, args=(one, None)) for one in self.subjects if one not in tasks]
        for thread in (*drivers, *others):
            thread.start()
        for thread in drivers:
            thread.join()
        self._over.set()
        for thread in others:
            thread.join()

    def table(self) -> list[str]:
        """Rows for docs/benchmarks.md."""
        text = self.scene.record.read_text(encoding="utf-8")
        record = [json.loads(line) for line in text[: text.rfind("\n")].splitlines()]
        rows = [
            "| what relaunches | relaunches | to created: p50 | p99 | largest | to running: p50 | p99 |",
            "|---|---|---|---|---|---|---|",
        ]
        for kind in dict.fromkeys(subject.kind for subject in self.subjects):
            pairs = [pair for one in self.subjects if one.kind == kind for pair in relaunches(lives(record, one.name))]
            rows.append(_row(kind, pairs))
        rows.append("")
        for one in self.subjects[:2]:
            times = [pair[0] for pair in relaunches(lives(record, one.name))]
            tens = [statistics.median(times[start : start + 10]) for start in range(0, len(times) - 9, 10)]
            rows.append(f"{one.name}: {len(times)} relaunches, the median of each ten: {', '.join(map(_ms, tens))}.")
        by_number = [
            [pair[0] for pair in relaunches(lives(record, one.name))] for one in self.subjects if one.kind == "Job"
        ]
        if by_number:
            rows.append(
                "Jobs, by number of the preemption: "
                + "; ".join(
                    f"{number}: {_ms(statistics.median(column))}"
                    for number, column in enumerate(_columns(by_number), 1)
                )
            )
        return rows

    def _drive(self, subject: Subject, times: int | None) -> None:
        evicted: set[str] = set()
        try:
            while not self._over.is_set() and (times is None or len(evicted) < times):
                pod = self._wait_for_one(subject, evicted)
                if pod is None:
                    return
                self.scene.evict(pod["metadata"]["name"])
                evicted.add(pod["metadata"]["uid"])
            if times is not None:
                self._wait_for_one(subject, evicted)  # the last relaunch counts, too
        except ClusterError as error:
            self.troubles.append(f"{subject.name}: {error}")

    def _wait_for_one(self, subject: Subject, evicted: set[str]) -> Json | None:
        """A pod that may be evicted; None when the run is over first."""
        since: dict[str, float] = {}

        def ask() -> Json | None:
            if self._over.is_set():
                return _RUN_IS_OVER
            for pod in self.scene.recorder.all_of("Pod"):
                metadata = pod["metadata"]
                mine = (metadata.get("labels") or {}).get(SUBJECT) == subject.name
                if not mine or metadata["uid"] in evicted or metadata.get("deletionTimestamp"):
                    continue
                if pod["status"].get("phase") != "Running":
                    continue
                ran = time.monotonic() - since.setdefault(metadata["uid"], time.monotonic())
                if ran >= RAN_SECONDS and subject.ready(metadata["name"]):
                    return pod
            return None

        pod = wait_for(f"a pod of {subject.name} that runs", ask, PATIENCE_SECONDS)
        return None if pod is _RUN_IS_OVER else pod

    def _task(self, name: str) -> Subject:
        # Far more steps than any run gets through, each saved: every attempt makes progress.
        body = task(self.scene, name, stepping(self.scene, name, steps=1_000_000, every=1, pace=0.3))
        body["spec"]["template"]["metadata"] = {"labels": {SUBJECT: name}}
        self.scene.apply(body)

        saves = _Saves(lambda: self.scene.stage.read_shared(f"{self.scene.namespace}/{name}.jsonl"))
        return Subject("Waypost", name, lambda pod: int(pod.rpartition("-")[2]) in saves.attempts())

    def _job(self, name: str) -> Subject:
        spec = {
            "backoffLimit": 1000,
            "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
            "template": _template(name, "Never"),
        }
        self.scene.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
        return Subject("Job", name)

    def _stateful_set(self, name: str) -> Subject:
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {SUBJECT: name}},
            "template": _template(name, "Always"),
        }
        self.scene.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec})
        return Subject("StatefulSet", name)


def _template(subject: str, restart: str) -> Json:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ENDS_WITH_143}
    spec = {"restartPolicy": restart, "automountServiceAccountToken": False, "containers": [container]}
    return {"metadata": {"labels": {SUBJECT: subject}}, "spec": {**spec, "terminationGracePeriodSeconds": 10}}


def _columns(rows: list[list[float]]) -> list[list[float]]:
    longest = max(map(len, rows))
    return [[row[number] for row in rows if len(row) > number] for number in range(longest)]


def _row(kind: str, pairs: list[tuple[float, float]]) -> str:
    if len(pairs) < 2:
        return f"| {kind} | {len(pairs)} | - | - | - | - | - |"
    created, running = ([pair[column] for pair in pairs] for column in (0, 1))
    figures = [_ms(_quantile(created, 0.5)), _ms(_quantile(created, 0.99)), _ms(max(created))]
    figures += [_ms(_quantile(running, 0.5)), _ms(_quantile(running, 0.99))]
    return f"| {kind} | {len(pairs)} | {' | '.join(figures)} |"


def _quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of the values doesn't exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.relaunch", description=__doc__)
    parser.add_argument("--through", type=int, default=100, help="relaunches of each of the two tasks")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--provider", default="local")
    asked = parser.parse_args()
    stage = Stage(provider(asked.provider))
    with stage.alone(), tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        stage.set_up()
        with Scene(stage, f"bench-relaunch-{uuid.uuid4().hex[:6]}", Path(folder)) as scene:
            stand = Stand(scene, asked.through, asked.jobs)
            started = time.monotonic()
            stand.run()
            print("\n".join(stand.table()))
            print(f"in {time.monotonic() - started:.0f} s")
            broken = scene.history().broken_promises()
            complaints = [one for name in ("task-a", "task-b") for one in scene.ledger(name).complaints]
    for sentence in (*stand.troubles, *broken, *complaints):
        print(f"NOT IN ORDER: {sentence}")
    return 1 if stand.troubles or broken or complaints else 0


if __name__ == "__main__":
    sys.exit(main())
