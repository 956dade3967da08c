"""`make chaos`: two hundred tasks, ten minutes of random disruptions, operator and API server killed at random.

Afterwards every task has to complete, every committed step to be kept (by the ledgers that the programs write without
the SDK), never two pods of a task may have lived at once (by the recorder), and the counts in each status have to be
what the test did. The seed decides every draw; what a draw hits depends on the machine's moment.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.judge import about_the_ledger, judge
from tests.chaos.mischief import Mischief
from tests.cluster import provider
from tests.cluster.waiting import wait_for
from tests.e2e.scene import Scene
from tests.e2e.stage import Stage
from tests.e2e.tasks import FILE_URI, S3_URI, quick, stepping, task
from tests.e2e.under_fire import OperatorUnderFire
from tests.witness.program import SIGTERM_WAYS
from waypost import contract

Json = dict[str, Any]
NODES = 3
"""A kubelet takes 110 pods."""
AT_ONCE = 20
"""Tasks in one apply."""
PACE_SECONDS, SAVE_EVERY = 4.0, 2
SETTLE_SECONDS = 1200.0
LONGEST_LIFE, LONGEST_STALL = 40.0, 10.0


def tasks(scene: Scene, count: int, seconds: float, seed: int) -> list[Json]:
    """Tasks that differ in store, length, manner of stopping, and in the ends that their programs make themselves."""
    dice, made = random.Random(seed), []
    most = max(6, int(seconds / PACE_SECONDS))
    for number in range(count):
        name = f"task-{number:03}"
        way = dice.choice(SIGTERM_WAYS)
        ends = []
        if dice.random() < 0.3:
            ends = [
                f"--end={dice.randrange(1, most)}={how}@{attempt}" for attempt, how in ((1, "exit:75"), (2, "exit:1"))
            ]
        steps = dice.randrange(most // 2, most + 1)
        command = stepping(scene, name, f"--on-sigterm={way}", *ends, steps=steps, every=SAVE_EVERY, pace=PACE_SECONDS)
        uri = dice.choice((S3_URI, FILE_URI))
        made.append(task(scene, name, command, uri=uri, grace=3 if way == "deaf" else 20, policy=quick(failures=5)))
    return made


def finished(scene: Scene) -> list[str]:
    """Names of the tasks that are over."""
    return [
        item["metadata"]["name"]
        for item in scene.recorder.all_of(contract.KIND)
        if scene.outcome(item["metadata"]["name"]) is not None
    ]


def rage(scene: Scene, operator: OperatorUnderFire, asked: argparse.Namespace) -> list[str]:
    """Apply the tasks, disturb them for the time asked, let them settle; prints the figures, returns the complaints."""
    bodies = tasks(scene, asked.tasks, asked.seconds, asked.seed)
    names = [body["metadata"]["name"] for body in bodies]
    for some in (bodies[at : at + AT_ONCE] for at in range(0, len(bodies), AT_ONCE)):
        scene.apply(*some)
    mischief = Mischief(scene, asked.seed, asked.pause)
    shots = int(asked.seconds / (LONGEST_LIFE / 2))
    fire = threading.Thread(target=operator.random_fire, args=(shots, asked.seed, LONGEST_LIFE, LONGEST_STALL))
    mischief.start()
    fire.start()
    ends = time.monotonic() + asked.seconds
    while time.monotonic() < ends:
        time.sleep(min(30.0, max(0.0, ends - time.monotonic())))
        print(
            f"{ends - time.monotonic():4.0f} s to go: {len(finished(scene))} tasks are over, "
            f"{sum(mischief.done.values())} deeds, {len(operator.deaths)} operators killed",
            flush=True,
        )
    mischief.stop()
    fire.join()
    wait_for("every task to be over", lambda: len(finished(scene)) == len(names), SETTLE_SECONDS)
    print(
        f"deeds: {dict(mischief.done)}, without an answer: {dict(mischief.unclear)}; "
        f"{len(operator.deaths)} operators and {len(mischief.api_server_outages)} API servers killed"
    )
    outages = [*mischief.api_server_outages, *operator.outages()]
    return settled(scene, names, mischief.deeds, outages) + operator.unexpected_ends


def settled(
    scene: Scene, names: list[str], deeds: Mapping[str, list[str]], outages: list[tuple[float, float]]
) -> list[str]:
    """Hold every task against the witnesses; prints the figures and returns the complaints.

    A task may be without a pod for its backoff and 30 s, not counting the outages that the test itself made.
    """
    history = scene.history()
    complaints = list(history.broken_promises(outages=outages))
    outcomes, apart, lost, redone = Counter[str](), list[str](), 0, 0
    for name in names:
        verdict, outcome = scene.ledger(name), scene.outcome(name)
        if outcome != "Succeeded" or not verdict.finished:
            complaints.append(f"{name} ended as {outcome}: {scene.status(name).get('message')}")
        complaints += [f"{name}: {sentence}" for sentence in about_the_ledger(name, verdict, deeds)]
        lost, redone = lost + verdict.lost, redone + len(verdict.redone)
        exit_codes = {life.name: life.exit_code for life in history.lives(name)}
        found = judge(name, scene.status(name), deeds, verdict.runs, exit_codes)
        complaints += found.complaints
        outcomes += found.outcomes
        apart += found.apart
    print(f"{len(names)} tasks, {outcomes.total()} attempts: {dict(outcomes)}")
    print(f"steps lost: {lost}; done again, not covered by a save: {redone}")
    print(f"ends that no deed explains, apart ({len(apart)}): {'; '.join(apart) or 'none'}")
    return complaints


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between two deeds to pods")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    stage = Stage(provider("local", nodes=NODES))
    print(f"seed {asked.seed}", flush=True)
    with stage.alone(), tempfile.TemporaryDirectory(prefix="waypost-chaos-") as folder:
        stage.set_up()
        with (
            stage.without_operator(),
            Scene(stage, f"chaos-{uuid.uuid4().hex[:6]}", Path(folder)) as scene,
            OperatorUnderFire(stage, scene.namespace, Path(folder)) as operator,
        ):
            complaints = rage(scene, operator, asked)
    for sentence in complaints:
        print(f"NOT IN ORDER: {sentence}")
    print("every promise was kept" if not complaints else f"{len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
