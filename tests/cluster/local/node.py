"""One node: a containerd and a kubelet of its own, beside others on the same host and network.

Everything a node would keep in system folders is pointed into the cluster's folder; sockets are in /run,
since the path of a socket may have 104 characters only. A container's processes are found by its cgroup, so a
node can be lost as a whole, and `down` ends all of them without guessing.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..asking import http_status
from ..binaries import build_binaries
from ..components import Credentials
from ..errors import ClusterError
from ..images import PAUSE_IMAGE
from ..processes import Process, wait_until_ready
from . import addresses

PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "kubelet")
CNI_PLUGINS = "/usr/lib/cni"  # where Debian's containernetworking-plugins are
_NAMESPACE = "k8s.io"  # containerd's for whatever the kubelet asked for
_READY_SECONDS = 120.0


@dataclass(frozen=True)
class Node:
    """Node `number` (from 1) of the cluster `cluster`, its files below `home`."""

    cluster: str
    home: Path
    number: int

    @property
    def name(self) -> str:
        """The node's name in Kubernetes."""
        return f"{self.cluster}-node-{self.number}"

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return addresses.node_address(self.number)

    @property
    def folder(self) -> Path:
        """What it keeps on disk."""
        return self.home / "nodes" / self.name

    @property
    def runtime(self) -> Path:
        """Sockets and whatever else does not outlive it."""
        return runtime_folder(self.cluster) / str(self.number)

    @property
    def socket(self) -> Path:
        """Where its containerd listens."""
        return self.runtime / "containerd.sock"

    @property
    def tasks(self) -> Path:
        """Where its containerd has a folder for each container that runs, named by the container's id."""
        return self.runtime / "containerd" / "io.containerd.runtime.v2.task" / _NAMESPACE

    @property
    def cgroups(self) -> list[str]:
        """The cgroups of its containers, in every hierarchy."""
        return [f"/{_NAMESPACE}/{task.name}" for task in self.tasks.glob("*")]

    def process(self, program: str) -> Process | None:
        """Its running `containerd` or `kubelet`, as written down."""
        name = f"{program}-{self.name}"
        return next((process for process in Process.recorded(self.home) if process.name == name), None)

    def start_containerd(self, pause: Path) -> None:
        """Start the container runtime and give it the pause image."""
        programs = build_binaries(PROGRAMS)
        for folder in (self.folder / "cni", self.runtime):
            folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "containerd.toml"
        config.write_text(containerd_config(self, programs["runc"]))
        (self.folder / "cni" / "10-waypost.conflist").write_text(json.dumps(cni_config(self), indent=1))
        shims = programs["containerd-shim-runc-v2"].parent
        process = Process.start(
            f"containerd-{self.name}",
            [str(programs["containerd"]), "--config", str(config)],
            self.home,
            {"PATH": f"{shims}:{os.environ['PATH']}"},
        )

        def answers() -> bool:
            return self.socket.exists() and not self._ctr("version").returncode

        wait_until_ready(f"containerd of {self.name}", answers, [process], _READY_SECONDS)
        self.load_image(pause, PAUSE_IMAGE)

    def start_kubelet(
        self,
        credentials: Credentials,
        settings: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the kubelet and wait until it says it is well; that the node is ready takes a bit longer.

        `settings` replace fields of its usual configuration.
        """
        kubelet = build_binaries(PROGRAMS)["kubelet"]
        config = self.folder / "kubelet.json"
        config.write_text(json.dumps({**kubelet_config(self, credentials), **(settings or {})}, indent=1))
        command = [
            str(kubelet),
            f"--config={config}",
            f"--kubeconfig={credentials.file(f'{self.name}.kubeconfig')}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet' / 'pki'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            f"--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone=local-{self.number}",
        ]
        process = Process.start(f"kubelet-{self.name}", command, self.home, environment)
        health = f"http://{self.address}:{addresses.KUBELET_HEALTH_PORT}/healthz"
        wait_until_ready(f"the kubelet of {self.name}", lambda: http_status(health) == 200, [process], _READY_SECONDS)

    def load_image(self, archive: Path, name: str | None) -> None:
        """Import an OCI archive; with `name`, fail unless the node then has an image called that."""
        imported = self._ctr("images", "import", "--local", str(archive))
        if imported.returncode != 0:
            raise ClusterError(f"{self.name} can't import {archive}: {imported.stderr.strip()}")
        if name is not None and name not in self._ctr("images", "list", "--quiet").stdout.split():
            raise ClusterError(f"{archive} was imported into {self.name}, but holds no image called {name}")

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ctr = str(build_binaries(PROGRAMS)["ctr"])
        command = [ctr, "--address", str(self.socket), "--namespace", _NAMESPACE, *arguments]
        return subprocess.run(command, capture_output=True, text=True)


def runtime_folder(cluster: str) -> Path:
    """Where the sockets of a cluster's nodes are."""
    return Path(f"/run/waypost-{cluster}")


def containerd_config(node: Node, runc: Path) -> str:
    """containerd's configuration (version 4 of its format)."""
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    return f"""
version = 4
root = '{node.folder}/containerd'
state = '{node.runtime}/containerd'

[plugins.'io.containerd.server.v1.grpc']
  address = '{node.socket}'
[plugins.'io.containerd.server.v1.ttrpc']
  address = '{node.socket}.ttrpc'
[plugins.'io.containerd.internal.v1.opt']
  path = '{node.folder}/opt'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{PAUSE_IMAGE}'
[{runtime}]
  # Without CAP_SYS_RESOURCE nobody may lower a score, and runc would end with
  # "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  cdi_spec_dirs = []
[{runtime}.cni]
  bin_dirs = ['{CNI_PLUGINS}']
  conf_dir = '{node.folder}/cni'
[{runtime}.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[{runtime}.containerd.runtimes.runc.options]
  BinaryName = '{runc}'
  Root = '{node.runtime}/runc'
"""


def cni_config(node: Node) -> dict[str, object]:
    """How pods of this node are joined: a bridge each, no rules in iptables (network.py lets them out)."""
    return {
        "cniVersion": "1.0.0",
        "name": f"waypost-{node.name}",
        "plugins": [
            {
                "type": "bridge",
                "bridge": addresses.pod_bridge(node.number),
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": f"{node.folder}/cni-addresses",
                    "ranges": [[{"subnet": addresses.pod_subnet(node.number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def kubelet_config(node: Node, credentials: Credentials) -> dict[str, object]:
    """KubeletConfiguration for a node among several on a host that need not have systemd or cgroup v2."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "port": addresses.KUBELET_PORT,
        "healthzBindAddress": node.address,
        "healthzPort": addresses.KUBELET_HEALTH_PORT,
        "tlsCertFile": credentials.file(f"{node.name}-server.crt"),
        "tlsPrivateKeyFile": credentials.file(f"{node.name}-server.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": credentials.file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "clusterDNS": [addresses.DNS_SERVICE],
        "clusterDomain": addresses.DOMAIN,
        "podLogsDir": f"{node.folder}/pod-logs",
        "volumePluginDir": f"{node.folder}/volume-plugins",
        "makeIPTablesUtilChains": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        # The disk is the developer's: how full it is must not evict pods, and an image that was loaded
        # is nowhere to be pulled again from.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }
