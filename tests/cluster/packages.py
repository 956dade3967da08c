"""Debian packages the cluster needs, installed when missing.

Small system tools that Debian has in a good version come from there (iptables, the CNI plugins, buildah,
debootstrap); what must be newer than Debian's is built in binaries.py. Without root or apt the error names
every missing package, so that a person can install them in one go.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from .cache import locked
from .errors import ClusterError
from .progress import say


def missing_packages(names: Iterable[str], status: str) -> list[str]:
    """Those of `names` that dpkg's `status` (lines of "name state") does not list as installed."""
    installed = {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def require_packages(names: Iterable[str]) -> None:
    """Install those of the Debian packages `names` that are missing."""
    wanted = list(names)
    if not (missing := missing_packages(wanted, _dpkg_status(wanted))):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(
            "missing Debian packages, and only root with apt-get can install them; please run\n"
            f"  apt-get install --no-install-recommends {' '.join(missing)}\n"
            "or install what your system calls them"
        )
    with locked("apt"):
        say(f"installing Debian packages: {' '.join(missing)}")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            result = subprocess.run(["apt-get", "-q", *command], env=environment, capture_output=True, text=True)
            if result.returncode != 0:
                raise ClusterError(
                    f"`apt-get {' '.join(command)}` failed with {result.returncode}:\n{result.stdout}{result.stderr}"
                )


def _dpkg_status(names: list[str]) -> str:
    if shutil.which("dpkg-query") is None:
        raise ClusterError(f"this is no Debian system: please install what it calls {' '.join(names)}")
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names]
    return subprocess.run(query, capture_output=True, text=True).stdout
