"""Where the tortured stores lie: a folder, versitygw, Ceph's gateway; and how to read them without Waypost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import CephServer, S3Server, S3Service
from tests.torture.rawlog import Read

BUCKET = "torture"
SERVERS: dict[str, type[S3Service]] = {"versitygw": S3Server, "ceph": CephServer}
NAMES = ("file", *SERVERS)


@dataclass(frozen=True)
class Place:
    """One kind of place, for as many stores as wanted."""

    name: str
    folder: Path
    """For what the writers need besides their store."""
    server: S3Service | None

    def uri(self, store: str) -> str:
        """The URI of a store."""
        return f"file://{self.folder}/{store}" if self.server is None else f"s3://{BUCKET}/{store}"

    def reader(self, store: str) -> Read:
        """How to read that store's keys without Waypost."""
        server = self.server
        if server is not None:
            return lambda key: server.read(BUCKET, f"{store}/{key}")

        def read(key: str) -> bytes | None:
            path = self.folder / store / key
            return path.read_bytes() if path.exists() else None

        return read

    def leftovers(self, store: str) -> list[str]:
        """Unfinished files that a store in a folder still holds."""
        unfinished = self.folder / store / ".tmp"
        return os.listdir(unfinished) if self.server is None and unfinished.exists() else []


@contextmanager
def place(name: str, folder: Path) -> Iterator[Place]:
    """Have such a place, with its server running and named in the environment."""
    if name == "file":
        yield Place(name, folder, None)
        return
    with SERVERS[name].start(BUCKET) as server:
        before = dict(os.environ)
        os.environ.update(server.environment)
        try:
            yield Place(name, folder, server)
        finally:
            os.environ.clear()
            os.environ.update(before)
