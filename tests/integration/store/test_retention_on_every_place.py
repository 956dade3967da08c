"""Pruning and deleting on every kind of place: what is kept is kept, what isn't is gone, strangers' files stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from waypost.backends.opening import open_backend
from waypost.checkpoints import Checkpoints
from waypost.errors import ConfigurationError, StoreDeletedError
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.deleting import delete_store
from waypost.store.format import Mode, known_mode
from waypost.store.retention import Retention
from waypost.store.seams import Seams

pytestmark = pytest.mark.integration

TWO = Retention(keep_last=2)


def test_only_what_is_kept_is_left_over_attempts(uri: str, tmp_path: Path) -> None:
    backend = open_backend(uri)
    strangers = ["packs/readme.txt", f"packs/{'0' * 20}-1-{'a' * 64}.bak", "manifests/mine"]
    with Checkpoints(uri, attempt=1) as store:  # keeps all
        for step in range(4):
            store.save(b"%d" % step * 100_000, step=step, wait=True)
    for key in strangers:
        backend.put(key, b"somebody's")
    backend.put(keys.PACKS + keys.object_name(1, 99, "b" * 64), b"left over by a killed attempt")
    for attempt in (2, 3):
        with Checkpoints(uri, attempt=attempt, retention=TWO) as store:
            base = store.base
            assert base is not None
            for step in range(4):
                store.save(os.urandom(100_000) if step % 2 else os.urandom(20_000), step=attempt * 10 + step, wait=True)
                store.flush()
            sequences = [info.sequence for info in store.list()]
            assert base.sequence in sequences
            store.restore(tmp_path / "base", checkpoint=base.sequence, replace=True)
    with Checkpoints(uri, attempt=None) as reader:
        found = reader.list()
        for info in found:
            assert len(reader.read_bytes(info.sequence) or b"") == info.size_bytes
        assert [info.step for info in found] == [33, 32, 23], "two, and the base of attempt 3"
    packs = [key for key in backend.list(keys.PACKS) if keys.upload_of(key.removeprefix(keys.PACKS))]
    assert len(packs) == 2
    assert all(backend.get(key, 100) == b"somebody's" for key in strangers)
    stubs = [key for key in backend.list(keys.LOG) if len(backend.get(key, keys.MAX_ENTRY)) < 20_000]
    assert len(stubs) == len(backend.list(keys.LOG)) - 1, "only the entry of step 32 still holds its data"


def test_a_person_pins_prunes_verifies_and_deletes_beside_a_running_attempt(uri: str) -> None:
    with Checkpoints(uri, attempt=1) as running:
        saved = [running.save(b"%d" % step * 100_000, wait=True).result() for step in range(4)]
        backend = open_backend(uri)
        with Checkpoints(uri, attempt=None) as person:
            if known_mode(Calls(backend, Seams())) is Mode.SCOPED:
                with pytest.raises(ConfigurationError, match="only the running task"):
                    person.pin(saved[0].sequence)
            else:
                person.pin(saved[0].sequence)
                assert person.prune(Retention(keep_last=1)).kept == (saved[0].sequence, saved[3].sequence)
                assert len(backend.list(keys.PACKS)) == 2
            assert person.verify().ok
        running.save(b"next", wait=True)
        assert running.read_bytes(saved[0].sequence) == b"0" * 100_000
        delete_store(Calls(backend, Seams()))
        with pytest.raises(StoreDeletedError):
            running.save(b"too late", wait=True)
    delete_store(Calls(backend, Seams()))  # what was on its way may have come: without conditional writes an entry too
    assert backend.list(keys.PACKS) == []
    assert len(backend.list(keys.LOG)) == 1
    with pytest.raises(StoreDeletedError):
        Checkpoints(uri, attempt=2)
