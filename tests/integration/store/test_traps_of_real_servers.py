"""What S3 servers and clients were seen to do, each trap shut: truncated objects, aliased keys, early answers, kills.

The facts were measured on versitygw 1.8 and obstore 0.12; a server that behaves better passes just the same.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.cluster import LaxS3Server, S3Server
from tests.cluster.waiting import wait_for
from tests.integration.store.conftest import BUCKET
from tests.integration.store.test_every_place_keeps_the_promises import another_process
from tests.witness.faultproxy import FaultProxy, Request
from tests.witness.troubles import cut_upload, refuses_to_delete, says
from waypost import contract
from waypost.backends.checksums import Known
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import AbsentError, ExistsError, RefusedError, UnreachableError
from waypost.checkpoints import Checkpoints
from waypost.errors import StorageError
from waypost.store import keys
from waypost.store.calls import Budget
from waypost.store.format import Mode
from waypost.store.saver import Job
from waypost.store.sources import look

pytestmark = pytest.mark.integration
PATIENT = Budget(seconds=60.0, answer=5.0, longest_pause=0.5)
PACK = os.urandom(8 << 20)


# --- Truncated objects -----------------------------------------------------------------------------------------------
def test_every_put_carries_the_checksum_of_its_body(s3: str, proxy: FaultProxy) -> None:
    """Without one a server may keep a truncated object of a client that vanished."""
    with Checkpoints(s3, attempt=1) as store:
        store.save(b"tiny", wait=True)
        store.save(PACK, wait=True)
    puts = [request for request in proxy.requests if request.method == "PUT"]
    assert {"PUT format.json", "PUT log", "PUT packs", "PUT probe"} == {request.kind for request in puts}
    for request in puts:
        digest = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
        assert request.headers["x-amz-checksum-sha256"] == digest, request.target


def crc64nvme(data: bytes) -> int:
    """Bit by bit, as Rocksoft's parameters say."""
    crc = ~0 & (2**64 - 1)
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x9A6C9329AC4BC9B5 if crc & 1 else 0)
    return crc ^ (2**64 - 1)


def test_what_packs_carry_where_it_is_checked_is_the_crc_of_their_body(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CRC-64/NVME, and a signature that leaves the body to it; entries are signed as everywhere."""
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888, "the parameters' own check"
    monkeypatch.setattr("waypost.backends.checksums.WORTH_ASKING", 1)
    with asked_through_a_proxy(versitygw, monkeypatch) as (backend, proxy):
        body = b"a pack!" * 10_000
        backend.put("packs/asks", body)
        backend.put("packs/signed", body)
        wait_for("the server's answer", lambda: believed(backend) or None, 20)
        backend.put("packs/a", body)
        backend.put_new("log/a", b"an entry")
        assert backend.get("packs/a", len(body)) == body
        [signed], [pack], [entry] = (sent_to(proxy, end) for end in ("packs/signed", "packs/a", "log/a"))
        assert signed.headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
        assert pack.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        crc = base64.b64encode(crc64nvme(body).to_bytes(8, "big")).decode()
        assert pack.headers["x-amz-checksum-crc64nvme"] == crc
        assert entry.headers["x-amz-content-sha256"] == hashlib.sha256(b"an entry").hexdigest()
        asked = Counter(request.verb for request in proxy.requests if request.kind.endswith(" probe"))
        assert asked == {"PUT": 4, "GET": 1, "DELETE": 1}


def test_a_refusal_in_other_words_is_no_proof_of_checking(versitygw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that wants every header signed refuses the bodies of the probe, whatever their checksums say."""
    with asked_through_a_proxy(versitygw, monkeypatch) as (backend, proxy):
        assert backend._refuses_damage()
        unsigned = says("403 Forbidden", "AccessDenied", "There were headers present which were not signed")
        plan = proxy.plan(unsigned, "PUT", spare=3)
        assert not backend._refuses_damage(), "also when it says so only at the last body"
        assert plan.met == 1


def test_a_pack_that_is_refused_without_its_signature_is_sent_with_it(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the address stands another server than the one that was asked."""
    with asked_through_a_proxy(versitygw, monkeypatch) as (backend, proxy):
        backend._checks = Known()
        proxy.plan(says("403 Forbidden", "AccessDenied"), "PUT")
        backend.put("packs/a", PACK)
        backend.put("packs/b", PACK)
        how = [request.headers["x-amz-content-sha256"] for request in sent_to(proxy, "packs/a")]
        assert how == ["UNSIGNED-PAYLOAD", hashlib.sha256(PACK).hexdigest()]
        assert len(sent_to(proxy, "packs/b")) == 1, "the next one goes signed at once"
        assert backend.get("packs/b", len(PACK)) == PACK


def sent_to(proxy: FaultProxy, end: str) -> list[Request]:
    return [request for request in proxy.requests if request.verb == "PUT" and request.key.endswith(end)]


def believed(backend: ObjectStoreBackend) -> bool:
    return backend._checks is not None and backend._checks.holds_for(0)


@contextlib.contextmanager
def asked_through_a_proxy(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ObjectStoreBackend, FaultProxy]]:
    with FaultProxy(server.endpoint) as proxy:
        for name, value in {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint}.items():
            monkeypatch.setenv(name, value)
        yield ObjectStoreBackend(f"s3://{BUCKET}/sums/{os.urandom(4).hex()}"), proxy


def test_a_put_that_is_cut_in_the_middle_leaves_no_object(s3: str, proxy: FaultProxy) -> None:
    cut_puts_leave_nothing(ObjectStoreBackend(s3), proxy)


def test_nor_does_one_without_a_signature_where_checksums_are_checked(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asked_through_a_proxy(versitygw, monkeypatch) as (backend, proxy):
        backend._checks = Known()
        cut_puts_leave_nothing(backend, proxy)
        assert {sent.headers["x-amz-content-sha256"] for sent in sent_to(proxy, "packs/a")} == {"UNSIGNED-PAYLOAD"}


def cut_puts_leave_nothing(backend: ObjectStoreBackend, proxy: FaultProxy) -> None:
    for key, body in (("packs/a", PACK), ("packs/b", b"x" * 1000)):
        proxy.plan(cut_upload, "PUT")
        with pytest.raises(UnreachableError):
            backend.put(key, body)
        stays_absent(backend, key)
    backend.put("packs/old", b"old body")
    proxy.plan(cut_upload, "PUT")
    with pytest.raises(UnreachableError):
        backend.put("packs/old", PACK)
    assert backend.get("packs/old", len(PACK)) == b"old body"


def stays_absent(backend: ObjectStoreBackend, key: str) -> None:
    """For as long as a server may take to notice that its client is gone."""
    for _ in range(10):
        with pytest.raises(AbsentError):
            backend.get(key, len(PACK))
        time.sleep(0.02)


# --- Conditions ------------------------------------------------------------------------------------------------------
def test_every_log_entry_is_put_only_if_absent_and_nothing_is_ever_copied(s3: str, proxy: FaultProxy) -> None:
    """Servers were seen to ignore the condition on a copy."""
    with Checkpoints(s3, attempt=1) as store:
        store.save(b"tiny", wait=True)
        store.save(PACK, wait=True)
        store.complete()
    entries = [request for request in proxy.requests if request.kind == "PUT log"]
    assert len(entries) == 4
    assert all(request.headers["if-none-match"] == "*" for request in entries)
    assert not [request for request in proxy.requests if "x-amz-copy-source" in request.headers]
    assert not [request for request in proxy.requests if "uploads" in request.target], "no multipart upload either"


def test_an_entry_is_small_enough_to_hear_that_its_number_is_taken(s3: str) -> None:
    """A server that says 412 before it has read a large body was heard as a broken connection."""
    backend = ObjectStoreBackend(s3)
    backend.put_new("log/taken", b"first")
    for _ in range(15):
        with pytest.raises(ExistsError):
            backend.put_new("log/taken", bytes(keys.MAX_ENTRY))


def test_a_server_that_ignores_conditions_and_says_nothing_is_found_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with LaxS3Server.start("bucket") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        backend = ObjectStoreBackend("s3://bucket/x")
        for body in (b"first", b"second"):
            backend.put_new("other/key", body)  # no ExistsError: that is the trap
        with Checkpoints("s3://bucket/x", attempt=1) as store:
            store.save(b"one", step=1, wait=True)
        assert json.loads(backend.get(keys.FORMAT_KEY, 1000))["mode"] == Mode.SCOPED
        assert "no reliable conditional writes" in caplog.text
        with Checkpoints("s3://bucket/x", attempt=2) as store:
            assert store.read_bytes() == b"one"


# --- Keys ------------------------------------------------------------------------------------------------------------
def test_an_object_in_the_way_of_a_store_is_no_lost_race(s3: str) -> None:
    """versitygw can't keep `a` and `a/b`; that is trouble with the URI, and says nothing about conditional writes."""
    backend = ObjectStoreBackend(s3)
    backend.put("model", b"somebody's object")
    if not is_in_the_way(backend):  # a server that keeps both
        with Checkpoints(f"{s3}/model", attempt=1) as store:
            store.save(b"x", wait=True)
        return
    with pytest.raises(StorageError, match="An object stands where a folder has to") as caught:
        Checkpoints(f"{s3}/model", attempt=1)
    assert caught.value.exit_code == contract.EXIT_STORAGE
    assert backend.get("model", 100) == b"somebody's object"


def is_in_the_way(backend: ObjectStoreBackend) -> bool:
    try:
        backend.put_new("model/first", b"x")
    except RefusedError:
        return True
    return False


def test_no_key_of_a_store_is_the_folder_of_another(s3: str, proxy: FaultProxy) -> None:
    with Checkpoints(s3, attempt=1) as store:
        store.save(PACK, wait=True)
        store.complete()
    used = {request.key for request in proxy.requests if request.verb != "LIST"}
    assert not [(one, other) for one in used for other in used if other.startswith(f"{one}/")]


def test_the_longest_uri_still_leaves_room_for_every_key(s3: str) -> None:
    """512 bytes of URI, namespace and name of 63 and 52, and our own longest key stay under S3's 1024 bytes."""
    uri = s3
    while len(uri) < 512:
        uri += "/" + "x" * min(255, 511 - len(uri))
    uri += f"/{'n' * 63}/{'t' * 52}-01234567"
    longest = max(keys.log_key(10**20 - 1), keys.PACKS + keys.object_name(10**20 - 1, 10**9, "f" * 64), key=len)
    assert len(uri) + 1 + len(longest) < 1024
    with Checkpoints(uri, attempt=1) as store:
        store.save(PACK, wait=True)
        assert store.read_bytes() == PACK


@pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)  # to Ceph a key is a key
def test_a_part_of_the_uri_that_is_too_long_for_the_server_is_named(s3: str) -> None:
    with pytest.raises(StorageError, match=r"over 255 |TooLong|too long") as caught:
        Checkpoints(f"{s3}/{'x' * 256}", attempt=1)
    assert caught.value.uri == f"{s3}/{'x' * 256}"


# --- Deleting --------------------------------------------------------------------------------------------------------
def test_a_delete_that_is_denied_is_not_repeated(s3: str, proxy: FaultProxy) -> None:
    """The client deletes in bulk, where the denial stands inside of a 200."""
    plan = proxy.plan(refuses_to_delete("AccessDenied"), "DELETE", times=None)
    began = time.monotonic()
    Checkpoints(s3, attempt=1).close()
    assert plan.met == 1, "the probe's keys stay, and nobody insists"
    assert time.monotonic() - began < 20


# --- Others' doings, at once -----------------------------------------------------------------------------------------
def test_what_another_process_wrote_is_seen_at_once(s3: str) -> None:
    """Clients were seen to answer LIST, and 'does it exist', from a cache of their own."""
    one, other = ObjectStoreBackend(s3), ObjectStoreBackend(s3)
    for number in range(20):
        key = f"log/{number:03}"
        assert key not in one.list("log/")
        with pytest.raises(AbsentError):
            one.get(key, 10)
        other.put_new(key, b"x")
        assert key in one.list("log/")
        assert one.get(key, 10) == b"x"
        other.delete(key)
        assert key not in one.list("log/")


def test_a_reader_sees_the_save_of_another_process_at_once(s3: str) -> None:
    writer = another_process(s3, attempt=1)
    with Checkpoints(s3) as reader:
        for number in range(5):
            writer._save(Job(look(b"%d" % number), number, {}, {}, keeps_turn=True))
            assert reader.read_bytes() == b"%d" % number
    writer.saver.stop()


# --- A server that dies ----------------------------------------------------------------------------------------------
def test_a_server_killed_in_the_middle_of_puts_and_started_again_keeps_every_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with S3Server.start("bucket") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        uri, confirmed = "s3://bucket/x", list[int]()
        stop = threading.Event()

        def save_on() -> None:
            with Checkpoints(uri, attempt=1, starting=PATIENT, saving=PATIENT) as store:
                step = 0
                while not stop.is_set():
                    step += 1
                    store.save(b"%d " % step * (200_000 if step % 2 else 100), step=step, wait=True)
                    confirmed.append(step)

        program = threading.Thread(target=save_on)
        program.start()
        deadline = time.monotonic() + 60
        for _ in range(5):
            seen = len(confirmed)
            while len(confirmed) < seen + 3 and time.monotonic() < deadline:
                time.sleep(0.001)
            server.kill()
            server.restart()
        stop.set()
        program.join(60)
        assert not program.is_alive()
        assert len(confirmed) >= 15
        with Checkpoints(uri, attempt=2) as store:
            assert [info.step for info in reversed(store.list())] == confirmed
            for info in store.list():
                assert info.step is not None
                expected = b"%d " % info.step * (200_000 if info.step % 2 else 100)
                assert store.read_bytes(info.sequence) == expected
