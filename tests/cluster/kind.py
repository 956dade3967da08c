"""A cluster of `kind`: nodes that are containers of a Docker engine.

The simpler way where Docker runs. This file was written where no engine answers, and was NEVER RUN against
one: what it calls is kind's documented command line (kind.sigs.k8s.io), and no more than that is known of it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from .binaries import kubernetes_version
from .errors import ClusterError
from .provider import Cluster

_UP_SECONDS = 300


class KindCluster(Cluster):
    """One control plane node and `nodes` workers, made by the `kind` command on PATH."""

    def __init__(self, name: str, nodes: int) -> None:
        super().__init__(name)
        self._wanted = nodes

    @property
    def nodes(self) -> list[str]:
        """The workers: the control plane's node takes no pods."""
        names = self._kind("get", "nodes", "--name", self.name).split()
        return sorted(name for name in names if "control-plane" not in name)

    def up(self) -> None:
        """Create the cluster, or say nothing when it is there."""
        _require_docker()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._exists():
            self._kind("export", "kubeconfig", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
            return
        config = self.folder / "kind.json"
        roles = ["control-plane", *["worker"] * self._wanted]
        nodes = [{"role": role} for role in roles]
        config.write_text(json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes}))
        image = f"kindest/node:v{kubernetes_version()}"
        options = ["--config", str(config), "--image", image, "--wait", f"{_UP_SECONDS}s"]
        self._kind("create", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig), *options)

    def down(self) -> None:
        """Delete the cluster and its containers."""
        _require_docker()
        self._kind("delete", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig))
        shutil.rmtree(self.folder, ignore_errors=True)

    def load_image(self, archive: Path, name: str | None = None) -> None:
        """Load an archive into every node; that it holds `name` is left to kind."""
        self._kind("load", "image-archive", str(archive), "--name", self.name)

    def status(self) -> str:
        """Its nodes, or that there is none."""
        _require_docker()
        if not self._exists():
            return f"kind cluster {self.name}: down"
        return f"kind cluster {self.name}: nodes {', '.join(self.nodes)}, kubeconfig {self.kubeconfig}"

    def _exists(self) -> bool:
        return self.name in self._kind("get", "clusters").split()

    def _kind(self, *arguments: str) -> str:
        program = shutil.which("kind")
        if program is None:
            raise ClusterError("the kind provider needs the `kind` command on PATH (kind.sigs.k8s.io)")
        result = subprocess.run([program, *arguments], capture_output=True, text=True)
        if result.returncode != 0:
            raise ClusterError(f"`kind {' '.join(arguments)}` failed:\n{result.stderr.strip()}")
        return result.stdout


def _require_docker() -> None:
    """Raise unless a Docker engine answers; that a client is installed says nothing."""
    program = shutil.which("docker")
    if program is None:
        raise ClusterError("the kind provider needs Docker, and there is no `docker` command on PATH")
    result = subprocess.run([program, "info"], capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(
            "the kind provider needs Docker, and no Docker engine answers "
            f"(`docker info`: {result.stderr.strip() or result.stdout.strip()}). "
            "Start one, or use --provider local"
        )
