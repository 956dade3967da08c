"""A server that takes PUTs, for the tests that ask for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.store.put_server import PutServer, put_server
from waypost.backends.checksums import Known
from waypost.backends.objectstore import ObjectStoreBackend


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PutServer]:
    with put_server(monkeypatch) as server:
        yield server


@pytest.fixture
def backend(server: PutServer) -> Iterator[ObjectStoreBackend]:
    backend = ObjectStoreBackend("s3://bucket/a store")
    backend._checks = Known()
    yield backend
    backend.close()
