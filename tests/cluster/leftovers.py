"""Proof that a cluster was taken down: a snapshot of the machine before and after, and what differs.

    python -m tests.cluster.leftovers save before.json
    ... up, tests, down ...
    python -m tests.cluster.leftovers diff before.json     # exit status 1 and a list when anything is left

Looked at are processes that are ours or a container's, mounts, links, routes, network namespaces, nftables
and iptables rules, cgroups, the kernel settings a kubelet changes, and the system folders that container
runtimes write to. Other people's work goes on meanwhile, so of processes only those count that look like a
part of a cluster.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .cache import cache_dir

Snapshot = dict[str, list[str]]

_SETTINGS = (
    "net.ipv4.ip_forward",
    "net.bridge.bridge-nf-call-iptables",
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
_FOLDERS = (
    "/run",
    "/var/run",
    "/var/lib",
    "/var/log",
    "/etc/cni",
    "/etc/cdi",
    "/opt",
    "/usr/libexec/kubernetes",
)
_DEPTH = 3
_NOISE = ("/run/lock", "/run/user", "/var/lib/apt", "/var/lib/dpkg", "/var/log/apt", "/var/log/journal")


def snapshot() -> Snapshot:
    """What of interest is on this machine now."""
    return {
        "processes": sorted(_processes()),
        "mounts": sorted(line.split()[4] for line in _read("/proc/self/mountinfo").splitlines()),
        "links": sorted(name for _, name in socket.if_nameindex()),
        "addresses": _lines("ip", "-o", "address", without=("valid_lft",)),
        "routes": _lines("ip", "route", "show", "table", "all"),
        "network namespaces": _lines("ip", "netns", "list"),
        "nftables": _lines("nft", "list", "ruleset"),
        "iptables": [line for line in _lines("iptables-save") if not line.startswith(("#", ":"))],
        "cgroups": sorted(_cgroups()),
        "kernel settings": [f"{name}={_read('/proc/sys/' + name.replace('.', '/')).strip()}" for name in _SETTINGS],
        "system folders": sorted(_entries()),
    }


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """One line for each thing that is there now and was not, or was there and is not."""
    lines = []
    for kind in after:
        old, new = set(before.get(kind, [])), set(after[kind])
        lines += [f"{kind}: left behind: {item}" for item in sorted(new - old)]
        if kind not in ("processes", "mounts", "cgroups", "system folders"):  # others may end their own
            lines += [f"{kind}: gone: {item}" for item in sorted(old - new)]
    return lines


def _processes() -> Iterator[str]:
    ours = str(cache_dir())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            program = str((entry / "exe").readlink())
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            cgroups = (entry / "cgroup").read_text()
        except OSError:
            continue
        if (program.startswith(f"{ours}/bin") and f"{ours}/temporary" not in command) or "/k8s.io/" in cgroups:
            yield f"{entry.name} {command}"


def _cgroups() -> Iterator[str]:
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        yield folder
        if len(Path(folder).parts) > 8:
            folders.clear()


def _entries() -> Iterator[str]:
    for top in _FOLDERS:
        for folder, folders, files in os.walk(top):
            if any(folder.startswith(noise) for noise in _NOISE):
                folders.clear()
                continue
            if len(Path(folder).parts) - len(Path(top).parts) >= _DEPTH:
                folders.clear()
            yield from (os.path.join(folder, name) for name in (*folders, *files))


def _lines(*command: str, without: tuple[str, ...] = ()) -> list[str]:
    if shutil.which(command[0]) is None:
        return []
    output = subprocess.run(command, capture_output=True, text=True).stdout
    return [line.strip() for line in output.splitlines() if not any(word in line for word in without)]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def main() -> int:
    """Save a snapshot, or compare the machine with one."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.leftovers")
    parser.add_argument("action", choices=("save", "diff"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.action == "save":
        arguments.file.write_text(json.dumps(snapshot(), indent=1))
        return 0
    left = difference(json.loads(arguments.file.read_text()), snapshot())
    print("\n".join(left) or "nothing is left behind")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
