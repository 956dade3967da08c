"""The links, rules and kernel settings a local cluster needs, and giving them back.

Rules are kept in nftables tables of our own (ours, and those kube-proxy calls its own), so taking them back
is deleting a table, and nobody else's rules are read or changed. Kernel settings are noted before they are
changed: by us, by the kubelet (which insists on some) and by the CNI plugins.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

from ..errors import ClusterError
from . import addresses

_TABLE = "ip waypost"
_PROXY_TABLES = ("ip kube-proxy", "ip6 kube-proxy")
_FORWARDING = {
    "net.ipv4.ip_forward": "1",
    # A pod that reaches a pod of its own node through a Service must see the answer rewritten as well.
    "net.bridge.bridge-nf-call-iptables": "1",
}
# pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables
_KUBELETS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
_SAVED = "sysctls.json"


def require_free() -> None:
    """Raise if another cluster has this machine's network. To be asked before anything is made: what is there then
    belongs to that cluster, which may have our name and another cache folder."""
    if _exists(addresses.BRIDGE):
        raise ClusterError(
            f"the link {addresses.BRIDGE} exists: another local cluster is up, or was not taken down. "
            "`python -m tests.cluster down --name NAME` ends it, with the WAYPOST_CACHE that it was started with"
        )
    if shutil.which("nft") and (taken := [table for table in _PROXY_TABLES if table in _tables()]):
        raise ClusterError(f"another kube-proxy keeps rules on this machine (nftables {taken}): there can be one")


def create(folder: Path, nodes: int) -> None:
    """Make the bridge with an address per node, forward between pods, and let pods out to the world."""
    if not _setting("net.bridge.bridge-nf-call-iptables").exists():
        _run("modprobe", "br_netfilter")
    settings = {name: _setting(name).read_text().strip() for name in (*_FORWARDING, *_KUBELETS)}
    (folder / _SAVED).write_text(json.dumps(settings))
    for name, value in _FORWARDING.items():
        _setting(name).write_text(value)
    _run("ip", "link", "add", addresses.BRIDGE, "type", "bridge")
    _run("ip", "address", "add", f"{addresses.HOST}/24", "dev", addresses.BRIDGE)
    for number in range(1, nodes + 1):
        _run("ip", "address", "add", f"{addresses.node_address(number)}/32", "dev", addresses.BRIDGE)
    _run("ip", "link", "set", addresses.BRIDGE, "up")
    outside = f"ip saddr {addresses.POD_NETWORK} ip daddr != {addresses.POD_NETWORK}"
    inside = f'oifname != {{ "{addresses.BRIDGE}", "wpn*" }}'
    _run("nft", "add", "table", *_TABLE.split())
    _run("nft", f"add chain {_TABLE} out {{ type nat hook postrouting priority srcnat; }}")
    _run("nft", f"add rule {_TABLE} out {outside} {inside} masquerade")


def remove(folder: Path, nodes: int) -> None:
    """Take back what `create`, kube-proxy and the CNI plugins made.

    Does nothing unless `create` got as far as changing something: what is there then is another cluster's.
    """
    saved = folder / _SAVED
    if not saved.exists():
        return
    for link in (addresses.BRIDGE, *(addresses.pod_bridge(number) for number in range(1, nodes + 1))):
        if _exists(link):
            _run("ip", "link", "delete", link)
    present = _tables()
    for table in (_TABLE, *_PROXY_TABLES):
        if table in present:
            _run("nft", "delete", "table", *table.split())
    for name, value in json.loads(saved.read_text()).items():
        _setting(name).write_text(value)
    saved.unlink()


def _tables() -> list[str]:
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines()
    return [line.removeprefix("table ") for line in listed]


def _exists(link: str) -> bool:
    return link in (name for _, name in socket.if_nameindex())


def _setting(name: str) -> Path:
    return Path("/proc/sys", name.replace(".", "/"))


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
