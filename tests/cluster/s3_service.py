"""What every S3 server of the tests has in common: a loopback port, two keys, buckets, and an end.

A test asks for a server and doesn't care which; what differs (how it starts, what of it can be killed) is in
s3.py and ceph.py.
"""

from __future__ import annotations

import abc
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
from typing import ClassVar, Self

from .asking import free_ports, lost_port
from .errors import ClusterError
from .processes import Process
from .temporary import make_folder, remove_folder

REGION = "us-east-1"
_ATTEMPTS = 3


@dataclass
class S3Service(abc.ABC):
    """A running S3 server. Use it as a context manager, or call `remove`."""

    name: ClassVar[str]
    folder: Path
    port: int
    access_key: str = "waypost"
    secret_key: str = "waypost-secret"
    _process: Process | None = field(default=None, repr=False)
    """The program that answers S3 requests."""

    @classmethod
    def start(cls, *buckets: str) -> Self:
        """Start a server with its own empty data, and create `buckets` (3 characters or more each)."""
        for attempt in range(1, _ATTEMPTS + 1):
            [port] = free_ports(1)
            server = cls(make_folder(cls.name), port)
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

    @abc.abstractmethod
    def restart(self) -> None:
        """Start (again) on the same port with the same data, and wait until it answers."""

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What an S3 client needs in its environment to use this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
        }

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
        status, answer = self.request("PUT", name)
        if status != 200:
            raise ClusterError(f"bucket {name} could not be created: {status} {answer.decode()}")

    def read(self, bucket: str, key: str) -> bytes | None:
        """The content of an object, asked for without any client library; None when there is none."""
        status, answer = self.request("GET", f"{bucket}/{urllib.parse.quote(key)}")
        if status not in (200, 404):
            raise ClusterError(f"{bucket}/{key} could not be read: {status} {answer.decode()}")
        return answer if status == 200 else None

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        sent: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Send one request without any client library; returns status and body of the answer.

        `sent` is what goes over the line in place of the `body` that was signed.
        """
        url = f"{self.endpoint}/{path}"
        signed = signed_headers(method, url, self.access_key, self.secret_key, body, headers)
        data = (body if sent is None else sent) or None
        request = urllib.request.Request(url, data=data, method=method, headers=dict(signed))
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _end(self, grace_seconds: float) -> None:
        if self._process is not None:
            self._process.end(grace_seconds)
            self._process = None


def signed_headers(
    method: str,
    url: str,
    access_key: str,
    secret_key: str,
    body: bytes = b"",
    more: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """Headers of an S3 request without query, `more` among them (in lower case), signed by AWS Signature Version 4."""
    parts = urllib.parse.urlsplit(url)
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    fixed = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    headers = dict(sorted({**fixed, **(more or {})}.items()))
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
