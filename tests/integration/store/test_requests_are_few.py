"""How many requests a start, a save and a restore make of a real S3 server, counted by the proxy in front of it."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster import S3Server
from tests.witness.faultproxy import FaultProxy, Request
from waypost.checkpoints import Checkpoints
from waypost.store import keys
from waypost.store.entries import Checkpoint, decode
from waypost.store.retention import Retention

pytestmark = pytest.mark.integration

LARGE = bytes(range(256)) * 1000
START = {"GET format.json": 1, "LIST log": 1, "GET log": 1, "PUT log": 1}
"""What a start costs, whatever the history: what the store is, where its log ends, the newest entry, the FENCE."""

LOOK_FOR_ORPHANS = {"LIST packs": 1, "LIST manifests": 1, "LIST parts": 1, "LIST probe": 1}
"""Once in an attempt that prunes: one more LIST of a folder that has anything in it."""


def write_folder(folder: Path, mib: int, files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}-{'x' * 100}").write_bytes(b"%d" % number)
    with open(folder / "model", "wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(4, "big") * (1 << 18))
    return folder


def test_a_tiny_save_is_one_put(s3: str, proxy: FaultProxy) -> None:
    with Checkpoints(s3, attempt=1) as store:
        proxy.count()
        for step in range(5):
            store.save(b"%d" % step, step=step, metrics={"loss": 0.5}, wait=True)
            assert proxy.count() == {"PUT log": 1}
        store.complete()
        assert proxy.count() == {"PUT log": 1}
    assert proxy.count() == Counter(), "closing asks nothing"


def test_pruning_adds_no_request_to_a_tiny_save(s3: str, proxy: FaultProxy) -> None:
    """What a save prunes stands in its own entry; what is deleted for it comes behind, and is counted apart."""
    with Checkpoints(s3, attempt=1, retention=Retention(keep_last=2)) as store:
        proxy.count()
        for step in range(8):
            store.save(b"%d" % step, step=step, wait=True)
        store.flush()
        assert proxy.count() == {"PUT log": 8, **LOOK_FOR_ORPHANS}, "a tiny one leaves nothing worth a request"
        assert len(store.list()) == 2


def test_what_a_pruned_checkpoint_leaves_is_deleted_behind_the_save(s3: str, proxy: FaultProxy) -> None:
    with Checkpoints(s3, attempt=1, retention=Retention(keep_last=2)) as store:
        proxy.count()
        for step in range(6):
            store.save(bytes(20_000) if step % 2 else b"%d" % step + LARGE, step=step, wait=True)
            store.flush()
        stubs = [request for request in proxy.requests if request.kind == "PUT log" and not is_new(request)]
        asked = proxy.count()
        assert asked.pop("PUT log") - len(stubs) == 6
        assert asked.pop("PUT packs") == 3
        # four were pruned: each is read once more, two had a pack, two had data in their entry
        assert len(stubs) == 2
        assert asked == {"GET log": 4, "DELETE packs": 2, **LOOK_FOR_ORPHANS, "LIST packs": 2}


def is_new(request: Request) -> bool:
    return request.headers.get("if-none-match") == "*"


def test_a_larger_save_is_one_put_for_each_pack_and_one_for_the_entry(
    s3: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    with Checkpoints(s3, attempt=1) as store:
        proxy.count()
        store.save(LARGE, wait=True)
        assert proxy.count() == {"PUT packs": 1, "PUT log": 1}
        folder = write_folder(tmp_path / "three packs", mib=64, files=0)
        store.save(folder, wait=True)
        assert proxy.count() == {"PUT packs": 3, "PUT log": 1}
        (folder / "model").write_bytes((folder / "model").read_bytes() + b"more")
        store.save(folder, wait=True)
        assert proxy.count() == {"PUT packs": 1, "PUT log": 1}, "what was there is named again"
        store.save(folder, wait=True)
        assert proxy.count() == {"PUT log": 1}
        store.save(write_folder(tmp_path / "many files", mib=0, files=500), wait=True)
        assert proxy.count() == {"PUT packs": 1, "PUT manifests": 1, "PUT log": 1}


def test_a_start_takes_four_requests(s3: str, proxy: FaultProxy) -> None:
    with Checkpoints(s3, attempt=1) as store:
        first = proxy.count()
        assert {kind for kind in first if "probe" not in kind} == {*START, "PUT format.json"} - {"GET log"}
        assert first["PUT format.json"] == first["PUT log"] == 1
        assert first.total() < 25, "a new place is probed, once"
        store.save(b"one", wait=True)
    proxy.count()
    for attempt in (2, 3):
        with Checkpoints(s3, attempt=attempt) as store:
            assert proxy.count() == START
            assert store.read_bytes() == b"one"
            assert proxy.count() == {"GET log": 1}


def test_a_restore_takes_one_request_for_the_entry_and_one_for_each_8_mib(
    s3: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    with Checkpoints(s3, attempt=1) as store:
        for source in (b"tiny", write_folder(tmp_path / "source", mib=64, files=500)):
            store.save(source, wait=True)
    with Checkpoints(s3, attempt=2) as store:
        proxy.count()
        store.restore(tmp_path / "restored")
        assert proxy.count() == {"GET log": 1, "GET manifests": 1, "GET packs": 8}
        store.restore(tmp_path / "tiny", 2)
        assert proxy.count() == {"GET log": 1}
    with Checkpoints(s3) as reader:
        assert proxy.count() == {"GET format.json": 1}
        reader.restore(tmp_path / "tiny", 2)
        assert proxy.count() == {"LIST log": 1, "GET log": 2}


def test_ten_thousand_entries_cost_a_start_no_further_request(monkeypatch: pytest.MonkeyPatch) -> None:
    newest = 10_000
    with S3Server.start("bucket") as server, FaultProxy(server.endpoint) as proxy:
        for name, value in {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint}.items():
            monkeypatch.setenv(name, value)
        with Checkpoints("s3://bucket/x", attempt=1) as store:
            model = store.save(b"state", step=1, wait=True).result()
        write_history(server.data / "bucket" / "x", model.sequence, newest)
        proxy.count()
        began = time.monotonic()
        with Checkpoints("s3://bucket/x", attempt=2) as store:
            seconds = time.monotonic() - began
            assert proxy.count() == START
            assert store.read_bytes() == b"state"
            assert proxy.count() == {"GET log": 1}
            assert store.base is not None
            assert store.base.sequence == newest
            proxy.count()
            assert store.save(b"next", step=newest, wait=True).result().sequence == newest + 2
            assert proxy.count() == {"PUT log": 1}
    print(f"start behind {newest} entries: {seconds * 1000:.0f} ms")
    assert seconds < 10


def write_history(store: Path, first: int, newest: int) -> None:
    """Entries up to `newest` behind the CHECKPOINT `first`, as after a long run, put where the server keeps them."""
    entry = decode((store / keys.log_key(first)).read_bytes(), first)
    assert isinstance(entry, Checkpoint)
    live = entry.live
    for sequence in range(first + 1, newest + 1):
        live = live.adding(sequence)
        copy = dataclasses.replace(entry, sequence=sequence, nonce=f"{sequence:032x}", live=live, parent=sequence - 1)
        (store / keys.log_key(sequence)).write_bytes(copy.encode())
