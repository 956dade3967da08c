"""A place of each kind, and two real S3 servers of different makes that the whole folder of tests shares."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import CephServer, S3Server, S3Service
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


@pytest.fixture(params=["file", "memory", *SERVERS])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new store, once in each kind of place."""
    if request.param == "file":
        return f"file://{tmp_path}/store"
    if request.param == "memory":
        return f"memory://tests/{next(_numbers)}"
    return _new_store(request.getfixturevalue(request.param), monkeypatch)


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
