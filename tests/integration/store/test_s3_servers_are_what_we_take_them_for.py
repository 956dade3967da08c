"""What the real servers do, asked without any client library: what the store builds on, and what it must not trust.

A server of another version that behaves otherwise turns these red before it turns a store wrong.
"""

from __future__ import annotations

import itertools
import threading

import pytest

from tests.cluster import S3Service
from tests.cluster.mocks import LaxS3, StrictS3
from tests.integration.store.conftest import BUCKET
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.opening import open_backend
from waypost.checkpoints import Checkpoints
from waypost.store import keys

pytestmark = pytest.mark.integration
ONLY_IF_ABSENT = {"if-none-match": "*"}
_numbers = itertools.count(1)


def new_key() -> str:
    return f"{BUCKET}/traps/{next(_numbers)}"


def test_a_second_conditional_put_is_refused_with_412_and_changes_nothing(s3_server: S3Service) -> None:
    key = new_key()
    assert s3_server.request("PUT", key, b"first", ONLY_IF_ABSENT)[0] == 200
    assert s3_server.request("PUT", key, b"second", ONLY_IF_ABSENT)[0] == 412
    assert s3_server.request("GET", key) == (200, b"first")


def test_of_eight_conditional_puts_at_once_one_wins(s3_server: S3Service) -> None:
    for _ in range(20):
        key, told = new_key(), dict[bytes, int]()
        barrier = threading.Barrier(8)

        def put(body: bytes, key: str = key, told: dict[bytes, int] = told) -> None:
            barrier.wait(10)  # noqa: B023 - joined below
            told[body] = s3_server.request("PUT", key, body, ONLY_IF_ABSENT)[0]

        threads = [threading.Thread(target=put, args=(b"%d" % number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        [winner] = [body for body, status in told.items() if status == 200]
        # AWS may say 409 where a PUT of the same key is under way; the store takes it for "exists" and looks.
        assert {status for body, status in told.items() if body != winner} <= {409, 412}
        assert s3_server.request("GET", key) == (200, winner)


def test_a_checksum_is_no_proof(s3_server: S3Service) -> None:
    """versitygw checks it, Ceph 16 keeps an object whose checksum says that it is another: so a store must hash."""
    status, _ = s3_server.request("PUT", new_key(), b"content", {"x-amz-checksum-crc32c": "AAAAAA=="})
    assert status == {"s3": 400, "ceph": 200}[s3_server.name]


def test_whether_a_server_checks_crc64_is_found_out_by_trying(s3: str, s3_server: S3Service) -> None:
    backend = ObjectStoreBackend(s3)
    assert backend._refuses_damage() is {"s3": True, "ceph": False}[s3_server.name]
    assert backend.list(keys.PROBE) == []


def test_a_mock_that_checks_is_told_from_one_that_does_not(
    strict: StrictS3, lax: LaxS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for server, checks in ((strict, True), (lax, False)):
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert ObjectStoreBackend(f"s3://{BUCKET}/checked")._refuses_damage() is checks


def test_a_body_other_than_the_signed_one_is_refused(s3_server: S3Service) -> None:
    """What protects a PUT on its way to either server: obstore signs the hash of every body."""
    key = new_key()
    status, answer = s3_server.request("PUT", key, b"content", {}, sent=b"c0ntent")
    assert (status, b"ContentSHA256Mismatch" in answer) == (400, True)
    assert s3_server.request("GET", key)[0] == 404


def test_a_pack_that_the_server_mangles_is_found_by_its_hash(s3: str) -> None:
    with Checkpoints(s3, attempt=1) as store:
        store.save(b"one" * 50_000, wait=True)
        store.save(b"two" * 50_000, wait=True)
    backend = open_backend(s3)
    [_, newest] = sorted(backend.list(keys.PACKS), key=lambda key: int(key.split("-")[1]))
    content = bytearray(backend.get(newest, 1_000_000))
    content[1000] ^= 1
    backend.put(newest, bytes(content))
    with Checkpoints(s3, attempt=2) as store:
        assert store.read_bytes() == b"one" * 50_000
