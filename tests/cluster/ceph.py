"""A second real S3 server, of another make: Ceph's RADOS gateway from Debian's packages, as root or not.

Behind the gateway stand a real Ceph cluster's smallest parts, one monitor and one object daemon that keeps everything
in memory. All of them listen on 127.0.0.1 only, authenticate each other by keys made for this one cluster, and end
with it. The gateway holds no data: to kill it and start it again is what happens to a gateway in the field.

`tcp_nodelay` is set, as Ceph's documentation offers it: the gateway sends an answer's head and body apart, and without
it Nagle's algorithm holds the body back for the client's delayed acknowledgement, some 45 ms in each GET.

The first request is answered after some 12 seconds; the three processes take about 200 MiB when idle.
"""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import ClassVar

from .asking import free_ports, http_status
from .errors import ClusterError
from .packages import require_packages
from .processes import Process, wait_until_ready
from .s3_service import S3Service

PACKAGES = ("radosgw", "ceph-osd", "ceph-mon", "ceph-common")
_READY_SECONDS = 120.0
_STEP_SECONDS = 60.0
_CAPABILITIES = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *", "mgr", "allow *"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
}


class CephServer(S3Service):
    """A running Ceph RADOS gateway with its cluster. Use it as a context manager, or call `remove`."""

    name: ClassVar[str] = "ceph"

    def restart(self) -> None:
        """Start the gateway (again), the first time with its cluster, and wait until it answers."""
        if not self._configuration.exists():
            self._found()
        gateway = ["radosgw", *self._as_admin, "--foreground"]
        process = self._process = Process.start("radosgw", gateway, self.folder)
        wait_until_ready(
            f"the S3 server at {self.endpoint}", lambda: http_status(self.endpoint) == 200, [process], _READY_SECONDS
        )
        self._make_user()

    @property
    def _configuration(self) -> Path:
        return self.folder / "ceph.conf"

    @property
    def _as_admin(self) -> list[str]:
        return ["--conf", str(self._configuration), "--name", "client.admin"]

    def _found(self) -> None:
        """Make a cluster: a monitor that knows the keys, then an object daemon that the monitor knows."""
        require_packages(PACKAGES)
        cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
        first, second = free_ports(2)
        monitor = f"[v2:127.0.0.1:{first},v1:127.0.0.1:{second}]"
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        self._configuration.write_text(configuration(self.folder, self.port, cluster, monitor))
        keyring, monitors = str(self.folder / "keyring"), str(self.folder / "monitors")
        _run("ceph-authtool", "--create-keyring", keyring)
        for name, capabilities in _CAPABILITIES.items():
            pairs = zip(capabilities[::2], capabilities[1::2], strict=True)
            words = [word for kind, what in pairs for word in ("--cap", kind, what)]
            _run("ceph-authtool", keyring, "--gen-key", "--name", name, *words)
        _run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", monitor, monitors)
        conf = ["--conf", str(self._configuration)]
        _run("ceph-mon", *conf, "--id", "a", "--mkfs", "--monmap", monitors, "--keyring", keyring)
        Process.start("ceph-mon", ["ceph-mon", *conf, "--id", "a", "--foreground"], self.folder)
        _run("ceph", *self._as_admin, "--connect-timeout", f"{_STEP_SECONDS:.0f}", "osd", "new", disk)
        _run("ceph-osd", *conf, "--id", "0", "--mkfs", "--osd-uuid", disk)
        Process.start("ceph-osd", ["ceph-osd", *conf, "--id", "0", "--foreground"], self.folder)

    def _make_user(self) -> None:
        made = self.folder / "user"
        if not made.exists():
            keys = ["--access-key", self.access_key, "--secret", self.secret_key]
            _run("radosgw-admin", *self._as_admin, "user", "create", "--uid=waypost", "--display-name=waypost", *keys)
            made.touch()


def configuration(folder: Path, port: int, cluster: str, monitor: str) -> str:
    """ceph.conf of a cluster in one folder: one copy of everything, in memory, on loopback."""
    settings = {
        "fsid": cluster,
        "mon_host": monitor,
        "public_addr": "127.0.0.1",
        "cluster_addr": "127.0.0.1",
        "ms_bind_ipv6": "false",
        "keyring": f"{folder}/keyring",
        "mon_data": f"{folder}/mon",
        "osd_data": f"{folder}/osd",
        "rgw_data": f"{folder}/rgw",
        "run_dir": str(folder),
        "admin_socket": "",
        "log_file": "",
        "log_to_stderr": "true",
        "err_to_stderr": "true",
        "osd_objectstore": "memstore",
        "memstore_device_bytes": str(8 * 2**30),
        "mon_allow_pool_size_one": "true",
        "osd_pool_default_size": "1",
        "osd_pool_default_min_size": "1",
        "osd_pool_default_pg_num": "1",
        "osd_pool_default_pg_autoscale_mode": "off",
        "rgw_rados_pool_pg_num_min": "1",
        "osd_crush_chooseleaf_type": "0",
        "rgw_frontends": f"beast endpoint=127.0.0.1:{port} tcp_nodelay=1",
    }
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())


def _run(*command: str) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_STEP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(command)}` took longer than {_STEP_SECONDS:.0f} s") from error
    if result.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed with {result.returncode}:\n{result.stdout}{result.stderr}")
