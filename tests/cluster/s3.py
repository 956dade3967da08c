"""A real S3 server (versitygw) on a loopback port, which a test can stop, kill and start again.

Its data are plain files in a folder with their metadata in extended attributes (never `--nometa`, which
forgets ETags' kin and conditional writes with them), so what was written survives a kill.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .asking import free_ports, http_status, lost_port
from .binaries import binary
from .errors import ClusterError
from .processes import Process, wait_until_ready
from .temporary import make_folder, remove_folder

REGION = "us-east-1"
HEALTH_PATH = "/-/health"  # no bucket's name: those start with a letter or digit
_ATTEMPTS = 3
_READY_SECONDS = 60.0


@dataclass
class S3Server:
    """A running versitygw. Use it as a context manager, or call `remove`."""

    folder: Path
    port: int
    access_key: str = "waypost"
    secret_key: str = "waypost-secret"
    _process: Process | None = field(default=None, repr=False)

    @classmethod
    def start(cls, *buckets: str) -> S3Server:
        """Start a server with its own empty data folder, and create `buckets` (3 characters or more each)."""
        for attempt in range(1, _ATTEMPTS + 1):
            [port] = free_ports(1)
            server = cls(make_folder("s3"), port)
            try:
                server.restart()
                for bucket in buckets:
                    server.create_bucket(bucket)
            except BaseException as error:
                server.remove()
                if attempt == _ATTEMPTS or not lost_port(error):
                    raise
            else:
                return server
        raise AssertionError("the last attempt raises")

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """The folder that holds the buckets, as plain files."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """What an S3 client needs in its environment to use this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
        }

    def restart(self) -> None:
        """Start (again) on the same port with the same data, and wait until it answers."""
        self.data.mkdir(exist_ok=True)
        command = gateway_command(str(binary("versitygw")), f"127.0.0.1:{self.port}", str(self.data))
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        process = self._process = Process.start("versitygw", command, self.folder, keys)
        wait_until_ready(
            f"the S3 server at {self.endpoint}",
            lambda: http_status(f"{self.endpoint}{HEALTH_PATH}") == 200,
            [process],
            _READY_SECONDS,
        )

    def stop(self) -> None:
        """Stop it as an operator would; the data stay."""
        self._end(grace_seconds=10.0)

    def kill(self) -> None:
        """Kill it in the middle of whatever it does; the data stay."""
        self._end(grace_seconds=0)

    def remove(self) -> None:
        """End it and remove its data."""
        remove_folder(self.folder)

    def create_bucket(self, name: str) -> None:
        """Create a bucket; names have at least 3 characters."""
        url = f"{self.endpoint}/{name}"
        headers = signed_headers("PUT", url, self.access_key, self.secret_key)
        request = urllib.request.Request(url, method="PUT", headers=dict(headers))
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
                return
        except urllib.error.HTTPError as error:
            with error:
                raise ClusterError(f"bucket {name} could not be created: {error.read().decode()}") from error

    def __enter__(self) -> S3Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _end(self, grace_seconds: float) -> None:
        if self._process is not None:
            self._process.end(grace_seconds)
            self._process = None


def gateway_command(program: str, address: str, data: str) -> list[str]:
    """versitygw over the folder `data`; its keys come as ROOT_ACCESS_KEY and ROOT_SECRET_KEY."""
    return [program, "--port", address, "--region", REGION, "--health", HEALTH_PATH, "posix", data]


def signed_headers(method: str, url: str, access_key: str, secret_key: str) -> Mapping[str, str]:
    """Headers of an S3 request without body and query, signed by AWS Signature Version 4."""
    parts = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(b"").hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    canonical = "\n".join([method, parts.path, "", *lines, "", names, digest])
    scope = f"{day}/{REGION}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), "sha256").digest()
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    credential = f"Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
