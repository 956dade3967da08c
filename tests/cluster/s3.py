"""A real S3 server (versitygw) on a loopback port, which a test can stop, kill and start again.

Its data are plain files in a folder with their metadata in extended attributes, so what was written survives a kill.
(Never `--nometa`, which forgets ETags' kin and conditional writes with them, unless that is what a test wants.)
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from .asking import http_status
from .binaries import binary
from .processes import Process, wait_until_ready
from .s3_service import REGION, S3Service

HEALTH_PATH = "/-/health"  # no bucket's name: those start with a letter or digit
_READY_SECONDS = 60.0


class S3Server(S3Service):
    """A running versitygw. Use it as a context manager, or call `remove`."""

    name: ClassVar[str] = "s3"
    options: ClassVar[tuple[str, ...]] = ()

    @property
    def data(self) -> Path:
        """The folder that holds the buckets, as plain files."""
        return self.folder / "data"

    def restart(self) -> None:
        """Start (again) on the same port with the same data, and wait until it answers."""
        self.data.mkdir(exist_ok=True)
        command = gateway_command(str(binary("versitygw")), f"127.0.0.1:{self.port}", str(self.data), *self.options)
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        process = self._process = Process.start("versitygw", command, self.folder, keys)
        wait_until_ready(
            f"the S3 server at {self.endpoint}",
            lambda: http_status(f"{self.endpoint}{HEALTH_PATH}") == 200,
            [process],
            _READY_SECONDS,
        )


class LaxS3Server(S3Server):
    """One that ignores conditions and says nothing: a second put-if-absent of a key is answered with 200."""

    name: ClassVar[str] = "lax-s3"
    options: ClassVar[tuple[str, ...]] = ("--nometa",)


def gateway_command(program: str, address: str, data: str, *options: str) -> list[str]:
    """versitygw over the folder `data`; its keys come as ROOT_ACCESS_KEY and ROOT_SECRET_KEY."""
    return [program, "--port", address, "--region", REGION, "--health", HEALTH_PATH, "posix", *options, data]
