"""What a node leaves in the kernel and in system folders: finding it, and taking it back.

A container's processes belong to a shim, not to containerd, and outlive it; mounts, cgroups and sockets
outlive the processes. Everything is found by a mark that is surely ours (the node's cgroup, its socket's
path, its folder, its network's name), never by a program's name.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import ClusterError
from ..waiting import wait_for
from .node import Node

_END_SECONDS = 30.0
_CNI_RESULTS = Path("/var/lib/cni/results")
_LOG_LINKS = Path("/var/log/containers")

# What containerd, the kubelet and the CNI plugins insist on having in system folders, deepest first. What did
# not exist before `up` is removed by `down`: the folders only if nobody else has filled them.
SYSTEM_PATHS = (
    Path("/run/containerd/s"),
    Path("/run/containerd"),
    _CNI_RESULTS,
    Path("/var/lib/cni"),
    _LOG_LINKS,
    Path("/var/lib/kubelet/device-plugins/kubelet.sock"),
    Path("/var/lib/kubelet/device-plugins"),
    Path("/var/lib/kubelet"),
)


def end_containers(node: Node) -> None:
    """Kill every process of the node's pods, and the shims that watch them."""
    sockets, cgroups = list(_shim_sockets(node)), node.cgroups
    _kill("pods' processes", lambda: _in_cgroups(cgroups), lambda pid: _is_in(pid, cgroups))
    _kill("shims", lambda: _shims(node), lambda pid: _is_shim(pid, node))
    for socket in sockets:
        socket.unlink(missing_ok=True)


def clean(node: Node) -> None:
    """Take back mounts, cgroups, network records and log links of a node whose processes are gone."""
    _unmount_below(node.runtime)
    _unmount_below(node.folder)
    for cgroup in node.cgroups:
        _remove_cgroup(cgroup)
    for task in node.tasks.glob("*"):
        for result in _CNI_RESULTS.glob(f"*-{task.name}-*"):
            result.unlink()
    for link in _LOG_LINKS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(node.folder):
            link.unlink()


def _remove_cgroup(cgroup: str) -> None:
    """Remove an empty cgroup and those below it from every hierarchy, and its parent with the last of them."""
    for root in _hierarchies():
        top = Path(f"{root}{cgroup}")
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()
        with contextlib.suppress(OSError):  # others are in it
            top.parent.rmdir()


def remove_made(paths: Iterable[Path]) -> None:
    """Remove those of SYSTEM_PATHS that were not there before `up`."""
    for path in paths:
        if path.is_dir():
            with contextlib.suppress(OSError):  # others are in it
                path.rmdir()
        else:
            path.unlink(missing_ok=True)


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


def _in_cgroups(cgroups: Sequence[str]) -> list[int]:
    pids: set[int] = set()
    for root in _hierarchies():
        for folder, _, _ in (entry for cgroup in cgroups for entry in os.walk(f"{root}{cgroup}")):
            with contextlib.suppress(OSError):  # removed while we walked
                pids.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
    return [pid for pid in pids if _state(pid) not in (None, "Z")]


def _is_in(pid: int, cgroups: Sequence[str]) -> bool:
    try:
        present = Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(cgroup in present for cgroup in cgroups)


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
    for bootstrap in node.tasks.glob("*/bootstrap.json"):
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
