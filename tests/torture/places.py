"""Where the tortured stores lie, and how their logs are read and judged without Waypost.

With conditional writes: a folder, versitygw, Ceph's gateway. Without: `lax`, a versitygw that ignores every condition,
and `ftp`, which fsspec reaches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import CephServer, S3Server, S3Service
from tests.cluster.mocks import ftp
from tests.cluster.s3 import LaxS3Server
from tests.torture import rawlog, rawscopes
from tests.torture.contents import Label

BUCKET = "torture"
SERVERS: dict[str, type[S3Service]] = {"versitygw": S3Server, "ceph": CephServer, "lax": LaxS3Server}
SCOPED = ("lax", "ftp")
NAMES = ("file", "versitygw", "ceph", *SCOPED)


@dataclass(frozen=True)
class Place:
    """One kind of place, for as many stores as wanted."""

    name: str
    folder: Path
    """For what the writers need besides their store."""
    root: str
    """The URI that the stores lie under."""
    server: S3Service | None = None
    """What may be killed and started again."""
    disk: Path | None = None
    """The folder that `root` is on this machine's disk, where it is one."""

    def uri(self, store: str) -> str:
        """The URI of a store."""
        return f"{self.root}/{store}"

    def judge(self, store: str, confirmed: Mapping[int, Label]) -> tuple[int, list[str]]:
        """How many entries that store's log has, and what is wrong with it."""
        try:
            if self.name in SCOPED:
                assert self.disk is not None
                log = rawscopes.read_log(self.disk / store / "log")
                return len(log.entries), rawscopes.judge(log, confirmed)
            entries = rawlog.read_log(lambda key: self._read(f"{store}/{key}"))
            return len(entries), rawlog.judge(entries, confirmed)
        except ValueError as error:
            return 0, [str(error)]

    def leftovers(self, store: str) -> list[str]:
        """Unfinished files that a store in a folder still holds.

        Over FTP nobody can tell a dead writer's from another's: they stay for as long as the store.
        """
        if self.name == "ftp":
            return []
        unfinished = self.folder / store / ".tmp"
        return os.listdir(unfinished) if unfinished.exists() else []

    def _read(self, key: str) -> bytes | None:
        if self.server is not None:
            return self.server.read(BUCKET, key)
        path = self.folder / key
        return path.read_bytes() if path.exists() else None


@contextmanager
def place(name: str, folder: Path) -> Iterator[Place]:
    """Have such a place, with its server running and named in the environment."""
    if name == "file":
        yield Place(name, folder, f"file://{folder}")
    elif name == "ftp":
        with ftp(folder) as url:
            yield Place(name, folder, url, disk=folder)
    else:
        with SERVERS[name].start(BUCKET) as server:
            before = dict(os.environ)
            os.environ.update(server.environment)
            disk = server.data / BUCKET if isinstance(server, S3Server) else None
            try:
                yield Place(name, folder, f"s3://{BUCKET}", server, disk)
            finally:
                os.environ.clear()
                os.environ.update(before)
