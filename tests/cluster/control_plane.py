"""Just an API server: etcd and kube-apiserver on free ports of this host, in seconds, several at once.

For tests of what the operator says to the API and what the API says back (schemas, RBAC, owners, patches,
watches). There are no nodes: a pod is created, and stays Pending until the test writes its status. With the
controller manager, owners are collected, namespaces end, quotas count, and every namespace gets its default
ServiceAccount; without it pods may name no ServiceAccount at all.

Nothing is kept: all of it is killed rather than asked to stop, since an API server takes up to 70 s to stop
gracefully.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from . import components
from .asking import free_ports, http_status, lost_port
from .binaries import API_SERVER, build_binaries
from .kubeconfig import Kubectl
from .processes import Process, wait_until_ready
from .temporary import make_folder, remove_folder

_HERE = "127.0.0.1"
_ATTEMPTS = 3  # free ports can be lost to another process between asking and listening
_READY_SECONDS = 120.0  # 4 s on an idle machine; the machine may be building something


@dataclass(frozen=True)
class ControlPlane:
    """A running API server. Use it as a context manager, or call `stop`."""

    folder: Path
    server: str
    authority: Path

    @classmethod
    def start(
        cls, controller_manager: bool = False, controllers: Sequence[str] = components.CONTROLLERS
    ) -> ControlPlane:
        """Start one and wait until it is ready; builds the programs when they are missing.

        `controller_manager` also starts kube-controller-manager with the `controllers` named.
        """
        programs = build_binaries([*API_SERVER, *(["kube-controller-manager"] if controller_manager else [])])
        for attempt in range(1, _ATTEMPTS + 1):
            plane = cls._create()
            try:
                plane._start_programs(programs, controllers if controller_manager else ())
            except BaseException as error:
                plane.stop()
                if attempt == _ATTEMPTS or not lost_port(error):
                    raise
            else:
                return plane
        raise AssertionError("the last attempt raises")

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator."""
        return self.folder / "certificates" / "admin.kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the administrator."""
        return Kubectl(self.kubeconfig, self.folder)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig that is the (existing) ServiceAccount, to try what RBAC allows it."""
        return self.kubectl.service_account_kubeconfig(namespace, name)

    def stop(self) -> None:
        """End everything and remove the folder; harmless when done already."""
        remove_folder(self.folder)

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @classmethod
    def _create(cls) -> ControlPlane:
        folder = make_folder("control-plane")
        [port] = free_ports(1)
        return cls(folder, f"https://{_HERE}:{port}", folder / "certificates" / "ca.crt")

    def _start_programs(self, programs: dict[str, Path], controllers: Sequence[str]) -> None:
        credentials, _ = components.Credentials.issue(self.authority.parent, self.server, ())
        client_port, peer_port, manager_port = free_ports(3)
        etcd = components.etcd(programs["etcd"], self.folder / "etcd", _HERE, client_port, peer_port)
        api_server = components.api_server(
            programs["kube-apiserver"],
            credentials,
            bind_address=_HERE,
            advertise_address=_HERE,
            port=int(self.server.rpartition(":")[2]),
            etcd_url=f"http://{_HERE}:{client_port}",
            publish_endpoints=False,
            service_account_admission=bool(controllers),
        )
        started = [Process.start("etcd", etcd, self.folder)]
        started.append(Process.start("kube-apiserver", api_server, self.folder))
        self._wait("the API server to be ready", "/readyz", started)
        if controllers:
            manager = components.controller_manager(
                programs["kube-controller-manager"], credentials, _HERE, manager_port, controllers
            )
            started.append(Process.start("kube-controller-manager", manager, self.folder))
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait("the default ServiceAccount", account, started)

    def _wait(self, what: str, path: str, started: Sequence[Process]) -> None:
        admin = (self.authority.with_name("admin.crt"), self.authority.with_name("admin.key"))

        wait_until_ready(
            what,
            lambda: http_status(f"{self.server}{path}", self.authority, admin) == 200,
            started,
            _READY_SECONDS,
        )
