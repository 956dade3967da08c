"""What a node leaves in the kernel and in system folders: finding it, and taking it back.

A container's processes belong to a shim, not to containerd, and outlive it; mounts, cgroups and sockets
outlive the processes. Everything is found by a mark that is surely ours (the node's cgroup, its socket's
path, its folder, its network's name), never by a program's name.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import ClusterError
from ..waiting import wait_for
from .node import Node, cni_network

_END_SECONDS = 30.0
_CNI_RESULTS = Path("/var/lib/cni/results")
_LOG_LINKS = Path("/var/log/containers")

# Folders that containerd, the kubelet and the CNI plugins insist on, deepest first. Those that did not exist
# before `up` are removed by `down`, if nothing but us filled them.
SYSTEM_FOLDERS = (
    Path("/run/containerd/s"),
    Path("/run/containerd"),
    _CNI_RESULTS,
    Path("/var/lib/cni"),
    _LOG_LINKS,
)


def end_containers(node: Node) -> None:
    """Kill every process of the node's pods, and the shims that watch them."""
    sockets = list(_shim_sockets(node))
    _kill("pods' processes", lambda: _in_cgroup(node.cgroup), lambda pid: node.cgroup in _cgroups_of(pid))
    _kill("shims", lambda: _shims(node), lambda pid: _is_shim(pid, node))
    for socket in sockets:
        socket.unlink(missing_ok=True)


def clean(node: Node) -> None:
    """Take back mounts, cgroups, network records and log links of a node whose processes are gone."""
    _unmount_below(node.runtime)
    _unmount_below(node.folder)
    remove_cgroup(node.cgroup)
    for result in _CNI_RESULTS.glob(f"{cni_network(node)}-*"):
        result.unlink()
    for link in _LOG_LINKS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(node.folder):
            link.unlink()


def remove_cgroup(cgroup: str) -> None:
    """Remove an empty cgroup and those below it from every hierarchy."""
    for root in _hierarchies():
        top = Path(f"{root}{cgroup}")
        folders = [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]
        for folder in folders:
            folder.rmdir()


def _kill(what: str, find: Callable[[], list[int]], is_ours: Callable[[int], bool]) -> None:
    """Kill until none is found; each is checked again once its number can't change hands any more."""

    def none_left() -> bool:
        pids = find()
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                if is_ours(pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], 1.0)
            except ProcessLookupError:
                continue
            finally:
                os.close(handle)
        return not pids

    wait_for(f"{what} to end", none_left, _END_SECONDS)


def _in_cgroup(cgroup: str) -> list[int]:
    pids: set[int] = set()
    for root in _hierarchies():
        for folder, _, _ in os.walk(f"{root}{cgroup}"):
            try:
                pids.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
            except (FileNotFoundError, OSError):
                continue  # removed while we walked
    return [pid for pid in pids if _state(pid) not in (None, "Z")]


def _cgroups_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _shims(node: Node) -> list[int]:
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in numbers if _is_shim(pid, node)]


def _is_shim(pid: int, node: Node) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"containerd-shim-runc-v2" in words[0] and str(node.socket).encode() in words


def _shim_sockets(node: Node) -> Iterator[Path]:
    tasks = node.runtime / "containerd" / "io.containerd.runtime.v2.task" / "k8s.io"
    for bootstrap in tasks.glob("*/bootstrap.json"):
        address = str(json.loads(bootstrap.read_text()).get("address", ""))
        if address.startswith("unix://"):
            yield Path(address.removeprefix("unix://"))


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = [mount for mount in mounts if Path(mount).is_relative_to(folder)]
    for mount in reversed(ours):
        result = subprocess.run(["umount", mount], capture_output=True, text=True)
        if result.returncode != 0:
            raise ClusterError(f"{mount} can't be unmounted: {result.stderr.strip()}")


def _hierarchies() -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if line.split()[2] in ("cgroup", "cgroup2")]
