"""How a client of object stores is set up: what its requests carry, by whose server it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.store.put_server import Request, put_server
from waypost.backends.checksums import Belief, Known
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import RefusedError

SIGNED = {"checksum_algorithm": "SHA256"}


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def settings(store: Any) -> dict[str, str]:
    return {name: value for name, value in store.config.items() if name in ("checksum_algorithm", "unsigned_payload")}


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_a_server_of_ones_own_is_believed_only_after_it_was_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceph 16 keeps what a checksum contradicts, and truncated objects; what a signature covers every server checks."""
    monkeypatch.setenv(name, "https://s3.example.com")
    backend = ObjectStoreBackend("s3://bucket/store")
    assert settings(backend._store) == SIGNED
    assert isinstance(backend._checks, Belief)


def test_amazon_gets_packs_with_the_checksum_that_costs_least() -> None:
    backend = ObjectStoreBackend("s3://bucket/store")
    assert settings(backend._bulk) == {"checksum_algorithm": "CRC64NVME", "unsigned_payload": "true"}
    assert isinstance(backend._checks, Known)
    assert settings(backend._store) == SIGNED, "entries of the log"


def refuses(request: Request) -> None:
    request.fails("403 Forbidden", "AccessDenied")


def test_what_is_refused_with_a_signature_too_is_no_matter_of_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights that are missing, or keys that have expired: signing all bodies from here on would mend neither."""
    with put_server(monkeypatch) as server:
        backend = ObjectStoreBackend("s3://bucket/store")
        backend._checks = Known()
        server.acts = [refuses, refuses]
        with pytest.raises(RefusedError, match="AccessDenied"):
            backend.put("packs/a", bytes(100_000))
        backend.put("packs/a", bytes(100_000))
        server.acts = [refuses]
        backend.put("packs/b", bytes(100_000))
        backend.put("packs/c", bytes(100_000))
        unsigned = [request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD" for request in server.requests]
    assert unsigned == [True, False, True, True, False, False], "only b was taken because it was signed"


def test_only_s3_is_asked_about_checksums() -> None:
    for uri in ("gs://bucket/store", "az://account/container/store"):
        try:
            backend = ObjectStoreBackend(uri)
        except Exception:  # noqa: BLE001 - it wants credentials from the environment
            continue
        assert backend._checks is None
