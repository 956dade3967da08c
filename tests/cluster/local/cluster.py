"""The local cluster: everything up, everything down.

`up` starts what needs nothing first (etcd, the container runtimes), then the API server, then what needs it.
`down` kills rather than stops: nothing of it is kept, and an API server takes up to 70 s to stop by itself.
Killing before anything else is taken back also means that nobody makes new links or mounts meanwhile.

What runs is written down in the cluster's folder (processes.py), so any later command finds it. The folder
survives `down` only with its logs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .. import components
from ..asking import http_status
from ..binaries import API_SERVER, build_binaries
from ..cache import locked
from ..errors import ClusterError
from ..images import pause_archive
from ..packages import require_packages
from ..processes import Process, end_all, wait_until_ready
from ..progress import say
from ..provider import Cluster
from ..waiting import wait_for
from . import addresses, login1, network, node, remains, services
from .node import Node

_PACKAGES = ("containernetworking-plugins", "iproute2", "nftables", "iptables", "conntrack", "kmod", "mount")
_PROGRAMS = (
    *API_SERVER,
    *("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"),
    *node.PROGRAMS,
)
_READY_SECONDS = 180.0  # 10 s on an idle machine


class LocalCluster(Cluster):
    """Kubernetes' own programs on this host, as root."""

    def __init__(self, name: str, nodes: int) -> None:
        super().__init__(name)
        if not 1 <= nodes <= addresses.MOST_NODES:
            raise ClusterError(f"a local cluster has 1 to {addresses.MOST_NODES} nodes, not {nodes}")
        self._wanted = nodes

    def up(self) -> None:
        """Start everything; at once when it is healthy, anew when it is half dead or has too few nodes."""
        if os.geteuid() != 0:
            raise ClusterError("the local provider needs root: it makes links, mounts and cgroups")
        with locked(f"cluster-{self.name}"):
            if self._exists():
                if not (trouble := self._trouble(self._wanted)):
                    say(f"cluster {self.name} is up")
                    return
                say(f"cluster {self.name} is not well ({'; '.join(trouble)}): starting it anew")
                self._down()
            network.require_free()  # before a quarter of an hour is spent on building ...
            require_packages(_PACKAGES)
            programs = build_binaries(_PROGRAMS)
            pause = pause_archive()
            network.require_free()  # ... and after it, before there is anything to take down
            try:
                self._start(programs, pause)
            except BaseException:
                say(f"cluster {self.name} did not come up: taking down what was started")
                self._down()
                raise

    def down(self) -> None:
        """Kill everything and take back what it left on this machine."""
        with locked(f"cluster-{self.name}"):
            if self._exists():
                self._down()
                say(f"cluster {self.name} is down")
            else:
                say(f"there is no cluster {self.name}")

    def load_image(self, archive: Path, name: str | None = None) -> None:
        """Import an OCI archive into every node, side by side."""
        self._everywhere(lambda one: one.load_image(archive, name))

    def status(self) -> str:
        """What runs, and what should but does not."""
        if not self._exists():
            return f"cluster {self.name}: down"
        trouble = self._trouble(nodes_wanted=0)
        lines = [f"cluster {self.name}: {'not well' if trouble else 'up'}, kubeconfig {self.kubeconfig}"]
        lines += [f"  {line}" for line in trouble]
        lines += [
            f"  {process.name}: pid {process.pid}{'' if process.alive else ' (ended)'}"
            for process in Process.recorded(self.folder)
        ]
        return "\n".join(lines)

    def stop_kubelet(self, node: str) -> None:
        """Stop the kubelet of `node` politely; its containers keep running."""
        self._end_program(node, "kubelet", grace_seconds=20.0)

    def kill_kubelet(self, node: str) -> None:
        """Kill the kubelet of `node`; its containers keep running."""
        self._end_program(node, "kubelet", grace_seconds=0)

    def start_kubelet(self, node: str, settings: Mapping[str, object] | None = None) -> None:
        """Start the kubelet of `node` again, unless it runs, and wait until the node is ready."""
        one = self._node(node)
        if (process := one.process("kubelet")) is None or not process.alive:
            one.start_kubelet(self._credentials(), settings)
        self._wait_for_nodes([one])

    @contextmanager
    def shutdown_switch(self, node: str, settings: Mapping[str, object]) -> Iterator[Callable[[], None]]:
        """Restart the kubelet of `node` so that it listens to a logind of our own; gives what announces the shutdown.
        At the end the announcement is withdrawn and the kubelet restarted as usual."""
        one = self._node(node)
        try:
            with login1.running(one) as bus:
                self.stop_kubelet(node)
                one.start_kubelet(self._credentials(), settings, {"DBUS_SYSTEM_BUS_ADDRESS": bus})
                login1.wait_for_inhibitor(one)
                yield lambda: login1.announce(bus, shutdown=True)
                login1.announce(bus, shutdown=False)
        finally:
            self.stop_kubelet(node)
            self.start_kubelet(node)

    def kill_api_server(self) -> None:
        """Kill the API server without notice; etcd and the rest keep running."""
        for process in Process.recorded(self.folder):
            if process.name == "kube-apiserver":
                process.end(0)

    def start_api_server(self) -> None:
        """Start the API server again and wait until it is ready."""
        self._start_api_server(build_binaries(API_SERVER), self._credentials(), [])

    def power_off(self, node: str) -> None:
        """Kill the kubelet, the container runtime and every container of `node`, in this order, at once."""
        one = self._node(node)
        for program in ("kubelet", "containerd"):
            self._end_program(node, program, grace_seconds=0)
        remains.end_containers(one)
        remains.clean(one)
        for folder in (one.folder, one.runtime):
            shutil.rmtree(folder, ignore_errors=True)

    def power_on(self, node: str) -> None:
        """Start a node lost by `power_off` again, empty: its images must be loaded again."""
        one = self._node(node)
        one.start_containerd(pause_archive())
        self.start_kubelet(node)

    # Starting

    def _start(self, programs: dict[str, Path], pause: Path) -> None:
        say(f"starting cluster {self.name} with {self._wanted} nodes")
        self.folder.mkdir(parents=True, exist_ok=True)
        made = [str(path) for path in remains.SYSTEM_PATHS if not path.exists()]
        self._state.write_text(json.dumps({"nodes": self._wanted, "made": made}))
        network.create(self.folder, self._wanted)
        credentials = self._issue_credentials()
        with ThreadPoolExecutor() as pool:
            runtimes = pool.submit(self._everywhere, lambda one: one.start_containerd(pause))
            self._start_control_plane(programs, credentials)
            say("the API server is ready")
            runtimes.result()
        self._everywhere(lambda one: one.start_kubelet(credentials))
        self._start_services(programs, credentials)
        self._wait_for_nodes(self._nodes())
        say(f"the nodes are ready: {', '.join(self.nodes)}")
        wait_for("the default ServiceAccount", self._has_default_account, _READY_SECONDS)
        say(f"cluster {self.name} is up, kubeconfig {self.kubeconfig}")

    def _issue_credentials(self) -> components.Credentials:
        folder = self.folder / "certificates"
        credentials, authority = components.Credentials.issue(folder, addresses.API_SERVER, [addresses.HOST])
        credentials.kubeconfig(authority, "coredns", services.DNS_USER)
        for one in self._nodes():
            credentials.kubeconfig(authority, one.name, f"system:node:{one.name}", ["system:nodes"])
            authority.issue(f"{one.name}-server", one.name, hosts=[one.name, one.address])
        shutil.copy(credentials.file("admin.kubeconfig"), self.kubeconfig)
        return credentials

    def _start_control_plane(self, programs: dict[str, Path], credentials: components.Credentials) -> None:
        host, etcd_port = addresses.HOST, addresses.ETCD_CLIENT_PORT
        etcd = components.etcd(programs["etcd"], self.folder / "etcd", host, etcd_port, addresses.ETCD_PEER_PORT)
        self._start_api_server(programs, credentials, [Process.start("etcd", etcd, self.folder)])
        manager = components.controller_manager(
            programs["kube-controller-manager"], credentials, host, addresses.CONTROLLER_MANAGER_PORT
        )
        manager.append(f"--flex-volume-plugin-dir={self.folder / 'volume-plugins'}")
        Process.start("kube-controller-manager", manager, self.folder)
        scheduler = components.scheduler(programs["kube-scheduler"], credentials, host, addresses.SCHEDULER_PORT)
        Process.start("kube-scheduler", scheduler, self.folder)

    def _start_api_server(
        self, programs: dict[str, Path], credentials: components.Credentials, started: Sequence[Process]
    ) -> None:
        """Start it and wait until it is ready; fails early when it or one of `started` ends."""
        command = components.api_server(
            programs["kube-apiserver"],
            credentials,
            bind_address=addresses.HOST,
            advertise_address=addresses.HOST,
            port=addresses.API_PORT,
            etcd_url=f"http://{addresses.HOST}:{addresses.ETCD_CLIENT_PORT}",
        )
        server = Process.start("kube-apiserver", command, self.folder)
        wait_until_ready("the API server", self._api_ready, [*started, server], _READY_SECONDS)

    def _start_services(self, programs: dict[str, Path], credentials: components.Credentials) -> None:
        self.kubectl.apply(*services.dns_objects())
        corefile = self.folder / "Corefile"
        corefile.write_text(services.corefile(credentials, services.host_resolver()))
        dns = Process.start("coredns", [str(programs["coredns"]), "-conf", str(corefile)], self.folder)
        config = self.folder / "kube-proxy.json"
        config.write_text(json.dumps(services.proxy_config(credentials, self._nodes()[0].name), indent=1))
        command = [str(programs["kube-proxy"]), f"--config={config}"]
        proxy = Process.start("kube-proxy", command, self.folder)
        health = f"http://{addresses.HOST}:{addresses.PROXY_HEALTH_PORT}/healthz"
        wait_until_ready("kube-proxy", lambda: http_status(health) == 200, [proxy], _READY_SECONDS)
        ready = f"http://{addresses.HOST}:{addresses.DNS_READY_PORT}/ready"
        wait_until_ready("CoreDNS", lambda: http_status(ready) == 200, [dns], _READY_SECONDS)

    # Ending

    def _down(self) -> None:
        nodes = self._nodes()
        end_all(Process.recorded(self.folder), grace_seconds=0)
        for one in nodes:
            remains.end_containers(one)
        for one in nodes:
            remains.clean(one)
        network.remove(self.folder, len(nodes))
        shutil.rmtree(node.runtime_folder(self.name), ignore_errors=True)
        remains.remove_made(map(Path, json.loads(self._state.read_text())["made"]))
        for path in self.folder.iterdir():
            if path.is_dir() and path.name != "logs":
                shutil.rmtree(path)
            elif path != self._state and path.is_file():
                path.unlink()
        self._state.unlink()

    # Asking

    @property
    def _state(self) -> Path:
        return self.folder / "cluster.json"

    def _exists(self) -> bool:
        return self._state.exists()

    def _nodes(self) -> list[Node]:
        count = json.loads(self._state.read_text())["nodes"]
        return [Node(self.name, self.folder, number) for number in range(1, count + 1)]

    def _node(self, name: str) -> Node:
        for one in self._nodes():
            if one.name == name:
                return one
        raise ClusterError(f"no node {name} in cluster {self.name}: {[one.name for one in self._nodes()]}")

    def _credentials(self) -> components.Credentials:
        return components.Credentials(self.folder / "certificates", addresses.API_SERVER)

    def _trouble(self, nodes_wanted: int) -> list[str]:
        """Why the cluster can't be used as it is; empty when it can."""
        processes = Process.recorded(self.folder)
        ended = [f"{process.name} has ended" for process in processes if not process.alive]
        if ended or not processes:
            return ended or ["nothing of it runs"]
        if not self._api_ready():
            return ["the API server does not answer"]
        if len(self._nodes()) < nodes_wanted:
            return [f"it has {len(self._nodes())} nodes, and {nodes_wanted} are wanted"]
        return [] if self._ready_nodes() >= {one.name for one in self._nodes()} else ["not all nodes are ready"]

    def _api_ready(self) -> bool:
        authority = self.folder / "certificates" / "ca.crt"
        return http_status(f"{addresses.API_SERVER}/readyz", authority) == 200

    def _ready_nodes(self) -> set[str]:
        return {
            item["metadata"]["name"]
            for item in self.kubectl.json("get", "nodes")["items"]
            for condition in item["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def _has_default_account(self) -> bool:
        listed = self.kubectl("get", "serviceaccounts", "--namespace=default", "-o", "name")
        return "serviceaccount/default" in listed

    def _wait_for_nodes(self, nodes: Sequence[Node]) -> None:
        names = {one.name for one in nodes}
        kubelets = [process for one in nodes if (process := one.process("kubelet")) is not None]
        what = f"the nodes {', '.join(sorted(names))} to be ready"
        wait_until_ready(what, lambda: self._ready_nodes() >= names, kubelets, _READY_SECONDS)

    def _everywhere(self, deed: Callable[[Node], None]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(deed, self._nodes()))

    def _end_program(self, node: str, program: str, grace_seconds: float) -> None:
        if (process := self._node(node).process(program)) is not None:
            process.end(grace_seconds)
