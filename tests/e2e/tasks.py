"""Manifests of the tasks that end-to-end tests apply: what a user would write, with the witness program inside."""

from __future__ import annotations

from typing import Any

from tests.e2e.scene import PROGRAM, SECRET, Scene
from tests.e2e.stage import BUCKET, IMAGE
from waypost import contract

Json = dict[str, Any]
S3_URI = f"s3://{BUCKET}/e2e"
FILE_URI = "file:///shared/checkpoints"


def task(
    scene: Scene,
    name: str,
    command: list[str],
    *,
    uri: str = S3_URI,
    secret: str | None = SECRET,
    grace: int = 10,
    policy: Json | None = None,
    labels: dict[str, str] | None = None,
) -> Json:
    """A task that runs `command` in the project's image, with the shared folder and the witness program mounted."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}, {"name": "program", "mountPath": "/program"}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    pod: Json = {
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [
            {"name": "shared", "hostPath": {"path": f"{scene.stage.shared}/{scene.namespace}"}},
            {"name": "program", "configMap": {"name": PROGRAM}},
        ],
    }
    if uri.startswith("file:") and not scene.stage.shared_here:  # each node has a folder of its own
        pod["nodeSelector"] = {"kubernetes.io/hostname": scene.stage.cluster.nodes[0]}
    checkpoint: Json = {"uri": uri}
    if secret is not None:
        checkpoint["credentialsSecretRef"] = {"name": secret}
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.KIND,
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "checkpoint": checkpoint,
            "failurePolicy": policy or quick(),
            "template": {"spec": pod},
        },
    }


def quick(failures: int = 3, codes: tuple[int, ...] = (), initial: int = 1) -> Json:
    """A failure policy whose backoff does not make a test wait."""
    return {
        "maxFailures": failures,
        "recoverableExitCodes": list(codes),
        "backoff": {"initialSeconds": initial, "maxSeconds": 10},
    }


def stepping(scene: Scene, name: str, *options: str, steps: int = 30, every: int = 5, pace: float = 0.2) -> list[str]:
    """The witness program's command line: `steps` steps of `pace` seconds, a save after every `every` of them."""
    loop = ("--steps", str(steps), "--save-every", str(every), "--step-seconds", str(pace))
    return ["python", "/program/program.py", "--ledger", scene.ledger_path(name), *loop, *options]
