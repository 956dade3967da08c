"""What a test may ask of a whole cluster, whoever provides it.

Three providers: `local` runs Kubernetes' own programs on this machine, `kind` uses Docker where there is one,
`existing` takes a kubeconfig that is named explicitly. What only some can do (losing a kubelet) the others
answer with NotSupportedError, which a test turns into a skip with that reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from .cache import cache_dir
from .errors import ClusterError, NotSupportedError
from .kubeconfig import Kubectl

DEFAULT_NAME = "waypost"
PROVIDERS = ("local", "kind", "existing")


class Cluster(ABC):
    """A Kubernetes cluster with nodes that run containers."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def folder(self) -> Path:
        """Where this cluster keeps its files."""
        return cache_dir() / "cluster" / self.name

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator; works from this host."""
        return self.folder / "kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.kubeconfig, self.folder)

    @property
    def nodes(self) -> list[str]:
        """Names of the nodes that run pods, sorted."""
        listed = self.kubectl("get", "nodes", "-o", "name").split()
        return sorted(name.removeprefix("node/") for name in listed)

    @abstractmethod
    def up(self) -> None:
        """Start the cluster and wait until its nodes are ready; at once when it is healthy already."""

    @abstractmethod
    def down(self) -> None:
        """End the cluster and take back everything it put on this machine; harmless when there is none."""

    @abstractmethod
    def load_image(self, archive: Path, name: str | None = None) -> None:
        """Give every node the image of an OCI archive; with `name`, make sure that is what it is called."""

    @abstractmethod
    def status(self) -> str:
        """A few lines for a person: is it up, with what, and what is wrong with it."""

    def stop_kubelet(self, node: str) -> None:
        """Stop the kubelet of `node` politely; its containers keep running."""
        raise self._unsupported("stop a kubelet")

    def kill_kubelet(self, node: str) -> None:
        """Kill the kubelet of `node`; its containers keep running."""
        raise self._unsupported("kill a kubelet")

    def start_kubelet(self, node: str, settings: Mapping[str, object] | None = None) -> None:
        """Start the kubelet of `node` again and wait until the node is ready; `settings` are fields of its
        KubeletConfiguration that are to be other than usual, until its next start."""
        raise self._unsupported("start a kubelet")

    def shutdown_switch(self, node: str, settings: Mapping[str, object]) -> AbstractContextManager[Callable[[], None]]:
        """While entered, the kubelet of `node` listens to a logind, with `settings` of its KubeletConfiguration; what
        is called then tells it that the machine is about to be shut down. The node is well again afterwards."""
        raise self._unsupported("shut a node down gracefully")

    def kill_api_server(self) -> None:
        """Kill the API server without notice; everything else keeps running."""
        raise self._unsupported("kill its API server")

    def start_api_server(self) -> None:
        """Start the API server again and wait until it is ready."""
        raise self._unsupported("start its API server")

    def power_off(self, node: str) -> None:
        """Lose `node` without any notice, with all its containers, as a reclaimed spot machine is lost."""
        raise self._unsupported("power a node off")

    def power_on(self, node: str) -> None:
        """Start a node lost by `power_off` again, as an empty machine of the same name."""
        raise self._unsupported("power a node on")

    def _unsupported(self, deed: str) -> NotSupportedError:
        return NotSupportedError(f"{type(self).__name__} can't {deed}: only the local provider can")


def provider(kind: str, name: str = DEFAULT_NAME, nodes: int = 2, kubeconfig: Path | None = None) -> Cluster:
    """The cluster `name` of provider `kind`, not started.

    `nodes` is how many it gets when it is started; `kubeconfig` names the cluster for `existing`.
    """
    if kind == "local":
        from .local import LocalCluster

        return LocalCluster(name, nodes)
    if kind == "kind":
        from .kind import KindCluster

        return KindCluster(name, nodes)
    if kind == "existing":
        from .existing import ExistingCluster

        return ExistingCluster(name, kubeconfig)
    raise ClusterError(f"unknown provider {kind!r}: one of {', '.join(PROVIDERS)}")
