"""The benchmarks' S3 sink: fast, but what it holds is what was sent, and what it counts is what happened."""

from __future__ import annotations

import datetime
import hashlib
import os
import time
import urllib.request
from collections.abc import Iterator

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from tests.bench.sink import Sink
from waypost import Checkpoints
from waypost.backends.objectstore import ObjectStoreBackend

pytestmark = pytest.mark.integration
MIB = 1 << 20


@pytest.fixture(scope="module")
def running() -> Iterator[Sink]:
    with Sink.start("bench", "other") as sink:
        yield sink


@pytest.fixture(params=["http", "tls"])
def store(running: Sink, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    running.empty()
    running.settings()
    for name, value in running.environment(tls=request.param == "tls").items():
        monkeypatch.setenv(name, value)
    running.forget()
    return S3Store("bench", client_options={"allow_http": True})


def test_objects_of_every_size_come_back_as_they_were_sent(store: S3Store, running: Sink) -> None:
    sizes = [0, 1, 4095, 4096, 65_536, 65_537, 3 * MIB + 1]
    contents = {f"folder/{size}": os.urandom(size) for size in sizes}
    for key, content in contents.items():
        obstore.put(store, key, content, use_multipart=False)
    for key, content in contents.items():
        assert bytes(obstore.get(store, key).bytes()) == content
    assert running.counts().requests == {"PutObject": 7, "GetObject": 7}
    assert running.counts().received == running.counts().sent == sum(sizes)


def test_ranges_and_parts_are_cut_where_they_were_asked_for(store: S3Store, running: Sink) -> None:
    content = os.urandom(21 * MIB + 17)
    obstore.put(store, "large", content, use_multipart=True, chunk_size=5 * MIB)
    assert running.counts().requests["UploadPart"] == 5
    assert hashlib.sha256(obstore.get(store, "large").bytes()).digest() == hashlib.sha256(content).digest()
    for start, end in [(0, 1), (5 * MIB - 3, 5 * MIB + 9), (4 * MIB, 16 * MIB), (len(content) - 5, len(content))]:
        assert bytes(obstore.get_range(store, "large", start=start, end=end)) == content[start:end]
    assert obstore.head(store, "large")["size"] == len(content)


def test_a_presigned_address_needs_nothing_else(store: S3Store, running: Sink) -> None:
    obstore.put(store, "signed", b"content", use_multipart=False)
    address = obstore.sign(store, "GET", "signed", datetime.timedelta(minutes=1))
    assert "X-Amz-Signature" in address
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Range": "bytes=2-4"}), timeout=30) as answer:
        assert answer.read() == b"nte"
    assert running.counts().requests == {"PutObject": 1, "GetObject": 1}


def test_a_put_if_absent_is_refused_the_second_time(store: S3Store, running: Sink) -> None:
    obstore.put(store, "once", b"first", mode="create", use_multipart=False)
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "once", b"second", mode="create", use_multipart=False)
    assert bytes(obstore.get(store, "once").bytes()) == b"first"
    assert running.counts().refused == {"PreconditionFailed": 1}


def test_a_small_body_is_held_against_its_crc64_and_a_large_one_is_not(store: S3Store, running: Sink) -> None:
    """So that a client which asks finds a server that checks, and the sink costs next to nothing all the same."""
    assert ObjectStoreBackend("s3://bench/store")._refuses_damage()
    assert running.counts().refused == {"BadDigest": 3}
    wrong = {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}
    other = S3Store("bench", client_options={"allow_http": True, "default_headers": wrong})
    obstore.put(other, "large", bytes(MIB + 1), use_multipart=False)


def test_listings_go_page_by_page_in_byte_order(store: S3Store, running: Sink) -> None:
    keys = sorted([f"a/{number:04}" for number in range(1200)] + ["a.txt", "b/c/d", "b/e"])
    for key in keys:
        obstore.put(store, key, b"", use_multipart=False)
    assert [item["path"] for page in obstore.list(store, None) for item in page] == keys
    assert [item["path"] for page in obstore.list(store, "a", offset="a/1197") for item in page] == ["a/1198", "a/1199"]
    told = obstore.list_with_delimiter(store, "b")
    assert (told["common_prefixes"], [item["path"] for item in told["objects"]]) == (["b/c"], ["b/e"])
    obstore.delete(store, keys[:1100])
    assert [item["path"] for page in obstore.list(store, None) for item in page] == keys[1100:]


def test_memory_is_used_again_once_nobody_reads_it(store: S3Store, running: Sink) -> None:
    for _ in range(3):
        for number in range(8):
            obstore.put(store, f"file-{number}", bytes([number]) * 4 * MIB, use_multipart=False)
    for number in range(8):
        assert bytes(obstore.get(store, f"file-{number}").bytes()) == bytes([number]) * 4 * MIB


def test_requests_take_longer_when_told_so(store: S3Store, running: Sink) -> None:
    running.settings(latency_seconds=0.2)
    began = time.monotonic()
    obstore.put(store, "late", b"", use_multipart=False)
    assert time.monotonic() - began >= 0.2
    running.settings(rate_mib=40)
    began = time.monotonic()
    obstore.put(store, "slow", bytes(8 * MIB), use_multipart=False)
    assert bytes(obstore.get(store, "slow").bytes()) == bytes(8 * MIB)
    assert time.monotonic() - began >= 0.4


def test_waypost_saves_and_restores_there(store: S3Store, tmp_path: os.PathLike[str]) -> None:
    with Checkpoints("s3://bench/task", attempt=1) as checkpoints:
        checkpoints.save(b"state", step=1, wait=True)
        assert checkpoints.read_bytes() == b"state"


def test_signed_chunks_and_trailers_are_taken_off_a_body(store: S3Store, running: Sink) -> None:
    body = (
        b"5;chunk-signature=aa\r\nhello\r\n7;chunk-signature=bb\r\n, world\r\n0\r\nx-amz-checksum-crc32:AAAA==\r\n\r\n"
    )
    chunked = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "12"}
    request = urllib.request.Request(f"{running.http}/bench/chunked", data=body, method="PUT", headers=chunked)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        assert answer.status == 200
    assert bytes(obstore.get(store, "chunked").bytes()) == b"hello, world"
