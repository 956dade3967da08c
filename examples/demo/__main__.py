"""The demo: a real cluster, a real eviction, a task that resumes where it stood, and one screen that says so.

    python -m examples.demo [--provider local|kind|existing] [--kubeconfig FILE]

Exit status 0 only if nothing was lost, nothing that was saved was done again, and both tasks succeeded. The cluster
stays up; a second run takes a fraction of the time.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

import yaml

from examples.demo import pi, screen
from examples.demo.follow import Clock, Follower
from tests.cluster import ClusterError, provider
from tests.cluster.provider import PROVIDERS
from tests.e2e.scene import Scene
from tests.e2e.stage import IMAGE, Stage
from tests.witness.ledger import Verdict

Json = dict[str, Any]
NAMESPACE = "demo"
EVICT_AFTER_STEP = 10
SECONDS = 180
HERE = Path(__file__).parent
ITERATIONS = 9
USE_CHECKPOINT = "use-checkpoint"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Waypost on a real cluster.")
    parser.add_argument("--provider", choices=PROVIDERS, default="local")
    parser.add_argument("--kubeconfig", type=Path, help="the cluster, for --provider existing")
    told = parser.parse_args()
    clock = Clock()
    stage = Stage(provider(told.provider, kubeconfig=told.kubeconfig), clock.say)
    with stage.alone():
        return show(stage, clock)


def show(stage: Stage, clock: Clock) -> int:
    """Set the scenery up and play; the exit status."""
    try:
        clock.say("cluster, image, S3 server and operator: making sure that they are there")
        stage.set_up()
    except ClusterError as error:
        print(f"\nThe demo could not be set up: {error}", file=sys.stderr)
        return 1
    clock.say(f"ready: nodes {', '.join(stage.cluster.nodes)}; operator installed by Helm")
    try:
        return play(stage, clock)
    except ClusterError as error:
        print(f"\nThe demo could not go on: {error}", file=sys.stderr)
        return 1
    finally:
        print(f"\nThe cluster stays up ({clock.seconds:.0f} s in all). To end it: make cluster-down")


def play(stage: Stage, clock: Clock) -> int:
    """Run both tasks and show what came of them; the exit status."""
    stage.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s")
    with (
        tempfile.TemporaryDirectory(prefix="waypost-demo-") as folder,
        Scene(stage, NAMESPACE, Path(folder)) as scene,
    ):
        began = clock.seconds
        result = watch_pi(scene, clock)
        shown = screen.pi(scene, result, expected_result(), clock.seconds - began)
        complaints = check_pi(scene, result)
        words = watch_use_checkpoint(scene, clock)
        if scene.outcome(USE_CHECKPOINT) != "Succeeded":
            complaints.append(f"{USE_CHECKPOINT} did not succeed")
        complaints += scene.history().broken_promises()
        shown += f"\n\n{screen.use_checkpoint(scene, words)}"
    print(f"\n{'=' * screen.WIDTH}\n{shown}\n{'=' * screen.WIDTH}")
    for complaint in complaints:
        print(f"NOT AS PROMISED: {complaint}")
    return 1 if complaints else 0


def watch_pi(scene: Scene, clock: Clock) -> str:
    """Apply the task, evict its pod while it works, follow it to its end; returns the program's result."""
    task = yaml.safe_load((HERE / "task.yaml").read_text(encoding="utf-8"))
    clock.say("$ kubectl apply -f examples/demo/task.yaml")
    scene.apply(with_ledger(task, scene))
    follower = Follower(scene, "pi", clock.say)
    follower.until(f"step {EVICT_AFTER_STEP} to be saved", lambda: saved(scene) >= EVICT_AFTER_STEP, SECONDS)
    clock.say(f"$ kubectl create --raw /api/v1/namespaces/{NAMESPACE}/pods/pi-1/eviction    <- the preemption")
    scene.evict("pi-1")
    follower.until("the task to finish", lambda: scene.outcome("pi"), SECONDS)
    lines = [
        json.loads(line) for text in scene.stage.read_shared(f"{NAMESPACE}/pi.jsonl") for line in text.splitlines()
    ]
    return next((line["result"] for line in lines if line["word"] == "finished"), "none")


class Played(Protocol):
    """What is asked of a scene when all is over."""

    def ledger(self, task: str, /) -> Verdict:
        """The ledger, judged."""

    def status(self, task: str, /) -> Json:
        """The task's status."""

    def outcome(self, task: str, /) -> str | None:
        """Succeeded or Failed."""


def check_pi(scene: Played, result: str) -> list[str]:
    """What is not as promised, in sentences."""
    told, status = scene.ledger("pi"), scene.status("pi")
    complaints = list(told.complaints)
    if scene.outcome("pi") != "Succeeded":
        complaints.append(f"the task ended {scene.outcome('pi')}")
    if status["counts"]["preemptions"] != 1 or status["counts"]["failures"] != 0:
        complaints.append(f"one preemption and no failure were due, not {status['counts']}")
    if len(told.runs) != 2 or not told.finished:
        complaints.append(f"two attempts were due, not {len(told.runs)}")
    if result != expected_result():
        complaints.append(f"the result is {result}, without a preemption it is {expected_result()}")
    return complaints


def watch_use_checkpoint(scene: Scene, clock: Clock) -> dict[str, str]:
    """Run the example of Flyte's documentation; returns what each attempt printed."""
    clock.say(f"Flyte's own checkpoint example, which fails on purpose, with n_iterations={ITERATIONS}:")
    clock.say("    (it counts no steps, and is so short that its failures can't be told from a crash loop: by default")
    clock.say("    Waypost would wait 10 s and 20 s between its attempts; here the first wait is set to 1 s)")
    scene.apply(use_checkpoint_task(scene))
    follower = Follower(scene, USE_CHECKPOINT, clock.say)
    follower.until("the example to finish", lambda: scene.outcome(USE_CHECKPOINT), SECONDS)
    pods = [life.name for life in scene.history().lives(USE_CHECKPOINT)]
    return {pod: scene.log(pod) for pod in pods}


def use_checkpoint_task(scene: Scene) -> Json:
    """The example as a task, in the image as it is."""
    task: Json = yaml.safe_load((HERE / "task.yaml").read_text(encoding="utf-8"))
    task["metadata"]["name"] = USE_CHECKPOINT
    task["spec"]["failurePolicy"] = {"backoff": {"initialSeconds": 1}}
    [container] = task["spec"]["template"]["spec"]["containers"]
    container["image"] = IMAGE
    container["command"] = ["waypost", "run", "/examples/use_checkpoint.py:use_checkpoint"]
    container["command"] += ["--n-iterations", str(ITERATIONS)]
    return task


def with_ledger(task: Json, scene: Scene) -> Json:
    """The task with the image that was built here, and a folder for the ledger that both nodes and we can see."""
    task = copy.deepcopy(task)
    pod = task["spec"]["template"]["spec"]
    [container] = pod["containers"]
    container["image"] = IMAGE
    container["volumeMounts"] = [{"name": "ledger", "mountPath": "/ledger"}]
    pod["volumes"] = [{"name": "ledger", "hostPath": {"path": f"{scene.stage.shared}/{NAMESPACE}"}}]
    return task


def saved(scene: Scene) -> int:
    """The last step whose save was confirmed, by the ledger."""
    return max((step for run in scene.ledger("pi").runs for step in run.saved), default=0)


@functools.cache
def expected_result() -> str:
    """The same sum, here and in one go."""
    total = 0.0
    for step in range(pi.STEPS):
        total = pi.add_terms(total, step)
    return repr(4 * total)


if __name__ == "__main__":
    sys.exit(main())
