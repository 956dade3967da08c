"""How a client of object stores is set up: what its requests carry, by whose server it is."""

from __future__ import annotations

from typing import Any

import pytest

from waypost.backends.checksums import Belief, Known
from waypost.backends.objectstore import ObjectStoreBackend

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


def test_only_s3_is_asked_about_checksums() -> None:
    for uri in ("gs://bucket/store", "az://account/container/store"):
        try:
            backend = ObjectStoreBackend(uri)
        except Exception:  # noqa: BLE001 - it wants credentials from the environment
            continue
        assert backend._checks is None
