"""A real S3 server for some rows: versitygw over a folder on tmpfs. It checks every signature, and counts nothing.

It is the bottleneck of what it takes part in, so it shows how much of a difference between clients is left for users
of such a server. It speaks http, at no more than its own pace.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.accounts import cpu_seconds
from tests.bench.sink import Counts
from tests.cluster.asking import free_ports
from tests.cluster.processes import Process
from tests.cluster.s3 import S3Server
from tests.cluster.temporary import make_folder


@dataclass
class Gateway:
    """A running versitygw with one bucket. Use it as a context manager, or call `remove`."""

    _server: S3Server
    _bucket: Path

    @classmethod
    def start(cls, work: Path, bucket: str) -> Self:
        """Start it over a folder of its own in `work`, which its owner removes."""
        [port] = free_ports(1)
        server, data = S3Server(make_folder(S3Server.name), port), work / "gateway"
        try:
            data.mkdir()
            server.data.symlink_to(data)
            server.restart()
            server.create_bucket(bucket)
        except BaseException:
            server.remove()
            raise
        return cls(server, data / bucket)

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """What an S3 client needs in its environment."""
        if tls:
            raise ValueError("the benchmarks' versitygw speaks http only")
        return {**self._server.environment, "AWS_DEFAULT_REGION": self._server.environment["AWS_REGION"]}

    def settings(self, *, latency_seconds: float = 0.0, rate_mib: float = 0.0) -> None:
        """There is nothing to set: a row that asks for it belongs to the sink."""
        if latency_seconds or rate_mib:
            raise ValueError("versitygw can't be slowed down: latency and rate are the sink's")

    def counts(self) -> Counts:
        """Nothing: it doesn't count."""
        return Counts({}, {}, 0, 0)

    def forget(self) -> None:
        """Nothing is counted."""

    def empty(self) -> None:
        """Remove every object, and what unfinished uploads left."""
        for path in self._bucket.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        return sum(cpu_seconds(process.pid) for process in Process.recorded(self._server.folder))

    def remove(self) -> None:
        """End it."""
        self._server.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
