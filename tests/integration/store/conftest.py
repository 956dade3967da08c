"""A place of each kind, and the servers that the whole folder of tests shares."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import CephServer, S3Server, S3Service
from tests.cluster.mocks import LaxS3, StrictS3, ftp
from tests.witness.faultproxy import FaultProxy

BUCKET = "checkpoints"
SERVERS = ("versitygw", "ceph")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def versitygw() -> Iterator[S3Server]:
    with S3Server.start(BUCKET) as server:
        yield server


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephServer]:
    with CephServer.start(BUCKET) as server:
        yield server


@pytest.fixture(params=SERVERS)
def s3_server(request: pytest.FixtureRequest) -> S3Service:
    """Each of the S3 servers in turn; shared, so not to be stopped."""
    server: S3Service = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def s3(s3_server: S3Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new store in S3, with what a client needs in the environment."""
    return _new_store(s3_server, monkeypatch)


@pytest.fixture(scope="session")
def strict() -> Iterator[StrictS3]:
    with StrictS3.start(BUCKET) as server:
        yield server


@pytest.fixture(scope="session")
def lax() -> Iterator[LaxS3]:
    with LaxS3.start(BUCKET) as server:
        yield server


@pytest.fixture(scope="session")
def ftp_server() -> Iterator[str]:
    with ftp() as url:
        yield url


CONDITIONAL = ("file", "memory", *SERVERS, "strict")
"""Places that create a key only if it is absent: two real S3 servers, and a mock that checks everything (ministack)."""
SCOPED = ("lax", "ftp")
"""Places that don't: an S3 mock that ignores the condition (s3rver), and what fsspec writes by `open` alone."""


@pytest.fixture(params=[*CONDITIONAL, *SCOPED])
def place(request: pytest.FixtureRequest) -> str:
    """Each kind of place."""
    kind: str = request.param
    return kind


@pytest.fixture
def uri(place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new store, once in each kind of place."""
    match place:
        case "file":
            return f"file://{tmp_path}/store"
        case "memory":
            return f"memory://tests/{next(_numbers)}"
        case "ftp":
            return f"{request.getfixturevalue('ftp_server')}/tests/{next(_numbers)}"
        case server:
            return _new_store(request.getfixturevalue(server), monkeypatch)


def _new_store(server: S3Service, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/tests/{next(_numbers)}"


@pytest.fixture
def proxy(s3: str, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """What stands between the clients of this test and the S3 server."""
    with FaultProxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
