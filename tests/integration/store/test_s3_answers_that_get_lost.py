"""Answers of a real S3 server that get lost: a save that stands is confirmed, once, and never saved twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import S3Service
from tests.integration.store.losing_proxy import LosingProxy
from waypost.checkpoints import Checkpoints

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(s3: str, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[LosingProxy]:
    with LosingProxy(s3_server.endpoint, b"PUT ", b"/log/") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


def test_a_save_whose_answer_got_lost_is_confirmed_once(s3: str, proxy: LosingProxy) -> None:
    with Checkpoints(s3, attempt=1) as store:
        proxy.lose = 1
        first = store.save(b"one", step=1, wait=True).result()
        assert proxy.lose == 0, "the answer was lost"
        second = store.save(b"two", step=2, wait=True).result()
        assert (first.sequence, second.sequence) == (2, 3)
        assert [info.step for info in store.list()] == [2, 1]


def test_a_fence_whose_answer_got_lost_is_confirmed_once(s3: str, proxy: LosingProxy) -> None:
    Checkpoints(s3, attempt=1).close()
    proxy.lose = 1
    with Checkpoints(s3, attempt=2) as store:
        assert proxy.lose == 0
        assert store.save(b"x", wait=True).result().sequence == 3


def test_every_put_carries_a_checksum(s3: str, proxy: LosingProxy) -> None:
    """Without one a server may keep a truncated object of a client that vanished."""
    with Checkpoints(s3, attempt=1) as store:
        store.save(b"tiny", wait=True)
        store.save(b"large" * 50_000, wait=True)
    puts = [head.lower() for head in proxy.requests if head.startswith(b"PUT ")]
    assert len([head for head in puts if b"/packs/" in head]) == 1
    assert all(b"x-amz-checksum-sha256:" in head for head in puts)


def test_every_log_entry_is_put_only_if_absent(s3: str, proxy: LosingProxy) -> None:
    with Checkpoints(s3, attempt=1) as store:
        store.save(b"tiny", wait=True)
        store.complete()
    puts = [head.lower() for head in proxy.requests if head.startswith(b"PUT ") and b"/log/" in head]
    assert len(puts) == 3
    assert all(b"if-none-match: *" in head for head in puts)
