"""The scenery that end-to-end tests and the demo share: a cluster, the image, an S3 server, the operator by Helm.

Each part is left as it is when it is there and unchanged, so a second run starts within seconds. What is on the
cluster is written down on the cluster itself (a ConfigMap), so a new cluster never passes for an old one.

Operator and S3 server stand on the first node, so that a test may do to the last one whatever it wants to.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import ClusterError, binary, build_image
from tests.cluster.cache import locked
from tests.cluster.image_inputs import digest, tracked_files
from tests.cluster.images import s3_archive
from tests.cluster.provider import Cluster
from tests.cluster.s3_in_cluster import deploy

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/waypost/waypost:stage"
SYSTEM = "waypost-system"
STAGE = "waypost-stage"
RELEASE = "waypost"
PROPS = "props"
"""The ConfigMap that says what is on the cluster."""
STORAGE = "waypost-s3"
BUCKET = "waypost"
SHARED_IN_POD = "/shared"
HELM_SECONDS = 180


@dataclass
class Stage:
    """A cluster on which everything is ready; `say` is told what is being done."""

    cluster: Cluster
    say: Callable[[str], None] = lambda text: print(text, flush=True)
    shared_here: bool = field(default=False, init=False)
    """The nodes' shared folder is a folder of this machine."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody else on this machine plays on this cluster, and keep others waiting: one who upgrades the
        operator or takes the cluster down spoils what the other sees."""
        waiting = threading.Timer(2.0, self.say, ["waiting for another test run or demo on this cluster to end"])
        waiting.start()
        try:
            with locked(f"stage-{self.cluster.name}"):
                waiting.cancel()
                yield
        finally:
            waiting.cancel()

    def set_up(self) -> None:
        """Bring up whatever is missing."""
        self.cluster.up()
        self.namespace(STAGE)
        self.namespace(SYSTEM)
        self._image()
        self._storage()
        self._operator()
        self._shared_folder()

    @property
    def home(self) -> str:
        """The node of the operator and the S3 server: no test harms it."""
        return self.cluster.nodes[0]

    @property
    def shared(self) -> str:
        """Path of the shared folder on the nodes, for hostPath volumes."""
        return str(self.cluster.folder / "shared")

    def namespace(self, name: str) -> None:
        """Create a namespace unless it is there."""
        self.cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # --- Image -----------------------------------------------------------------------------------------------
    def _image(self) -> None:
        archive = build_image(ROOT / "Dockerfile", ROOT, IMAGE)
        if self._prop("image") != archive.name:
            self.say("loading the image into the nodes")
            self.load_image()
            self._note_prop("image", archive.name)

    def load_image(self) -> None:
        """Give every node the image, also one that has come back empty."""
        self.cluster.load_image(build_image(ROOT / "Dockerfile", ROOT, IMAGE), IMAGE)

    def _prop(self, name: str) -> str | None:
        found = self.cluster.kubectl.json("-n", STAGE, "get", "configmap", "--field-selector", f"metadata.name={PROPS}")
        return str(found["items"][0].get("data", {}).get(name)) if found["items"] else None

    def _note_prop(self, name: str, value: str) -> None:
        self.cluster.kubectl.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": _meta(PROPS)})
        patch = json.dumps({"data": {name: value}})
        self.cluster.kubectl("-n", STAGE, "patch", "configmap", PROPS, "--type=merge", "-p", patch)

    # --- Storage ---------------------------------------------------------------------------------------------
    def _storage(self) -> None:
        wanted = f"{s3_archive().name} on {self.home}"
        if self._prop("s3") != wanted:
            self.say("starting an S3 server in the cluster")
            deploy(self.cluster, STORAGE, [BUCKET], self.home)
            self._note_prop("s3", wanted)

    # --- Operator --------------------------------------------------------------------------------------------
    def _operator(self) -> None:
        state = self._helm_values()
        wanted = self.values()
        if state != wanted or self._prop("chart") != chart_digest():
            self.say("installing the operator with Helm")
            self.helm_upgrade()
            self._note_prop("chart", chart_digest())

    def values(self) -> dict[str, Any]:
        """The chart's values on this stage. The image keeps its tag, so its build is named in the environment: a
        new one makes Helm roll the operator out."""
        repository, _, tag = IMAGE.rpartition(":")
        return {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
            "extraEnv": [{"name": "WAYPOST_BUILD", "value": str(self._prop("image"))}],
            "nodeSelector": {"kubernetes.io/hostname": self.home},
        }

    def helm_upgrade(self, *more: str) -> None:
        """`helm upgrade --install` with the stage's values and `more` options, waiting until it is ready."""
        self.helm(
            *("upgrade", "--install", RELEASE, str(ROOT / "charts" / "waypost"), "--namespace", SYSTEM),
            *("--wait", f"--timeout={HELM_SECONDS}s", "--values", "-", *more),
            stdin=json.dumps(self.values()),
        )

    def helm(self, *arguments: str, stdin: str | None = None) -> str:
        """Run Helm against the cluster; returns its stdout."""
        command = [str(binary("helm")), f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=HELM_SECONDS + 60)
        if result.returncode != 0:
            raise ClusterError(f"`helm {' '.join(arguments)}` failed: {result.stderr.strip()}\n{self.operator_log()}")
        return result.stdout

    def _helm_values(self) -> Any:
        if RELEASE not in self.helm("list", "--namespace", SYSTEM, "--deployed", "--short").split():
            return None
        return json.loads(self.helm("get", "values", RELEASE, "--namespace", SYSTEM, "--output", "json"))

    def operator_log(self, lines: int = 60) -> str:
        """The last lines of the operator in the cluster."""
        try:
            return self.cluster.kubectl("-n", SYSTEM, "logs", f"deployment/{RELEASE}", f"--tail={lines}")
        except ClusterError as error:
            return f"(no operator log: {error})"

    @contextmanager
    def without_operator(self) -> Iterator[None]:
        """Scale the operator in the cluster to nothing, for a test that runs one of its own."""
        self._scale(0)
        try:
            yield
        finally:
            self._scale(1)

    def _scale(self, replicas: int) -> None:
        kubectl = self.cluster.kubectl
        kubectl("-n", SYSTEM, "scale", f"deployment/{RELEASE}", f"--replicas={replicas}")
        if replicas:
            kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{RELEASE}", f"--timeout={HELM_SECONDS}s")
        else:
            selector = f"app.kubernetes.io/instance={RELEASE}"
            kubectl("-n", SYSTEM, "wait", "pod", "-l", selector, "--for=delete", f"--timeout={HELM_SECONDS}s")

    # --- Shared folder -----------------------------------------------------------------------------------------
    def _shared_folder(self) -> None:
        """A folder of the nodes for ledgers and file:// stores, with a pod on each node to look into it."""
        self.cluster.kubectl.apply(_janitor(self.shared, str(self._prop("image"))))
        self.cluster.kubectl("-n", STAGE, "rollout", "status", "daemonset/janitor", f"--timeout={HELM_SECONDS}s")
        self.in_shared_folder("echo $HOSTNAME > /shared/.visible && chmod 777 /shared")
        self.shared_here = Path(self.shared, ".visible").is_file()

    def in_shared_folder(self, script: str) -> list[str]:
        """Run a shell script as root on each node that has a shared folder of its own; it is /shared there. Returns the
        outputs."""
        one = [f"--field-selector=spec.nodeName={self.home}"] if self.shared_here else []
        pods = self.cluster.kubectl("-n", STAGE, "get", "pods", "-l", "app=janitor", "-o", "name", *one).split()
        exec_in = ("-n", STAGE, "exec")
        return [self.cluster.kubectl(*exec_in, pod, "--", "sh", "-c", script) for pod in pods]

    def read_shared(self, path: str) -> list[str]:
        """The file of that path below the shared folder, of each node that may have one of its own."""
        if self.shared_here:
            file = Path(self.shared, path)
            return [file.read_text(encoding="utf-8")] if file.exists() else []
        return self.in_shared_folder(f"cat {SHARED_IN_POD}/{path} 2>/dev/null || true")

    def write_shared(self, path: str, text: str) -> None:
        """Write a file below the shared folder, for every node to read."""
        if self.shared_here:
            whole = Path(self.shared, path)
            partial = whole.with_name(f".{whole.name}")
            partial.write_text(text, encoding="utf-8")
            partial.rename(whole)
        else:
            self.in_shared_folder(f"printf %s '{text}' > {SHARED_IN_POD}/{path}")


def chart_digest() -> str:
    """Changes with any file of the chart."""
    return digest([], ROOT / "charts", tracked_files(ROOT / "charts"))


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": STAGE}


def _janitor(shared: str, build: str) -> dict[str, Any]:
    container = {
        "name": "janitor",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "env": [{"name": "WAYPOST_BUILD", "value": build}],
        "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
        "volumeMounts": [{"name": "shared", "mountPath": SHARED_IN_POD}],
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "priorityClassName": "system-node-critical",  # it stays while a node runs out of memory, is drained or tainted
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "shared", "hostPath": {"path": shared, "type": "DirectoryOrCreate"}}],
    }
    labels = {"app": "janitor"}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _meta("janitor"),
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
