"""A logind on a bus of its own, so that a real kubelet shuts its node down gracefully where no systemd is.

The kubelet asks org.freedesktop.login1 for a delay lock and waits for its signal PrepareForShutdown: that is all it
knows of a machine's end, and it is how a spot machine's end reaches it on GKE. The bus (Debian's dbus-daemon) and the
stand-in for logind (login1_program.py, by Debian's Python with its dbus bindings) belong to one node, so that only
this node shuts down.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ClusterError
from ..packages import require_packages
from ..processes import Process, wait_until_ready
from ..waiting import wait_for
from .node import Node

_PACKAGES = ("dbus-daemon", "dbus-bin", "python3-dbus", "python3-gi")
_DEBIANS_PYTHON = "/usr/bin/python3"
_PROGRAM = Path(__file__).with_name("login1_program.py")
_OBJECT = "/org/freedesktop/login1"
_READY_SECONDS = 60.0
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


@contextmanager
def running(node: Node) -> Iterator[str]:
    """Bus and logind of `node` while entered; gives the bus's address."""
    require_packages(_PACKAGES)
    folder = node.folder / "login1"
    folder.mkdir(parents=True, exist_ok=True)
    socket = node.runtime / "bus"
    socket.unlink(missing_ok=True)
    address = f"unix:path={socket}"
    config = folder / "bus.conf"
    config.write_text(_BUS.format(socket=socket))
    bus = Process.start(
        f"dbus-{node.name}", ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"], node.home
    )
    started = [bus]
    try:
        wait_until_ready(f"the bus of {node.name}", socket.exists, [bus], _READY_SECONDS)
        _inhibitors(node).unlink(missing_ok=True)
        logind = Process.start(
            f"logind-{node.name}",
            [_DEBIANS_PYTHON, str(_PROGRAM), str(_inhibitors(node))],
            node.home,
            {"DBUS_SYSTEM_BUS_ADDRESS": address},
        )
        started.append(logind)
        wait_until_ready(f"the logind of {node.name}", _inhibitors(node).exists, started, _READY_SECONDS)
        yield address
    finally:
        for process in reversed(started):
            process.end(0)
            process.forget(node.home)
        socket.unlink(missing_ok=True)


def wait_for_inhibitor(node: Node) -> None:
    """Wait until the kubelet has taken its delay lock: it listens from then on."""
    wait_for(
        f"the kubelet of {node.name} to ask logind for a delay lock",
        lambda: "kubelet" in _inhibitors(node).read_text(),
        _READY_SECONDS,
    )


def announce(bus: str, *, shutdown: bool) -> None:
    """Send the signal PrepareForShutdown: the machine is about to go down, or is not any more."""
    # --bus, for with --address it would not say Hello, and a bus hands nothing on from who has not.
    command = ["dbus-send", f"--bus={bus}", "--type=signal", _OBJECT]
    command += ["org.freedesktop.login1.Manager.PrepareForShutdown", f"boolean:{str(shutdown).lower()}"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")


def _inhibitors(node: Node) -> Path:
    """Where the stand-in writes who has asked for a delay lock, a line each; it is there once it answers."""
    return node.folder / "login1" / "inhibitors"
