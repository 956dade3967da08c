"""Packs sent from the files where they stand, to real S3 servers: only to one that checks, and whole in any trouble."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.witness.faultproxy import FaultProxy, Trouble
from tests.witness.troubles import cut_upload, deliver_twice, lose_answer, reset_before
from waypost import Checkpoints
from waypost.backends.checksums import WORTH_ASKING
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import FilePart
from waypost.store.calls import Budget
from waypost.store.keys import MIB

pytestmark = pytest.mark.integration
PATIENT = Budget(seconds=60.0, answer=2.0)


class Loose:
    """A cord that nobody cuts."""

    def hold(self, hang_up: object) -> None:
        pass

    def let_go(self) -> None:
        pass


def asked(uri: str) -> ObjectStoreBackend:
    """The place, once it is known whether its server checks."""
    backend = ObjectStoreBackend(uri)
    backend.expect(WORTH_ASKING)
    belief = backend._checks
    assert belief is not None
    deadline = time.monotonic() + 30
    while not belief._until:  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return backend


@pytest.mark.parametrize("place", ["versitygw"], indirect=True)
def test_a_server_that_checks_gets_them_and_refuses_others(uri: str, tmp_path: Path) -> None:
    path, content = tmp_path / "state", os.urandom(20 * MIB)
    path.write_bytes(content)
    backend = asked(uri)
    assert backend.takes_parts()
    descriptor = os.open(path, os.O_RDONLY)
    parts = [FilePart(descriptor, 3, 9 * MIB, b"state"), FilePart(descriptor, 10 * MIB, 5, b"state")]
    whole = content[3 : 9 * MIB + 3] + content[10 * MIB :][:5]
    checksum = backend.checksum(memoryview(whole))
    for key in ("packs/one", "packs/with space+plus=~(x)*'!@:,;"):
        backend.put_parts(key, parts, checksum, Loose())
        assert backend.get(key, 32 * MIB) == whole
    other = [FilePart(descriptor, 4, 9 * MIB, b"state"), FilePart(descriptor, 10 * MIB, 5, b"state")]
    with pytest.raises(OSError, match="changed"):
        backend.put_parts("packs/one", other, checksum, Loose())
    assert backend.get("packs/one", 32 * MIB) == whole
    os.close(descriptor)
    backend.close()


@pytest.mark.parametrize("place", ["ceph"], indirect=True)
def test_a_server_that_does_not_check_gets_none(uri: str) -> None:
    backend = asked(uri)
    assert not backend.takes_parts()
    backend.close()


@pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
@pytest.mark.parametrize(
    "trouble", [reset_before, cut_upload, lose_answer, deliver_twice], ids=lambda trouble: trouble.__name__
)
def test_a_save_through_trouble_comes_back_whole(s3: str, proxy: FaultProxy, trouble: Trouble, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(96 * MIB))
    (source / "small").write_bytes(os.urandom(300_000))
    (source / "second").write_bytes(os.urandom(70 * MIB))
    with Checkpoints(s3, attempt=1, saving=PATIENT, uploader="thread") as store:
        backend = store._calls.backend
        assert isinstance(backend, ObjectStoreBackend)
        backend.expect(WORTH_ASKING)
        deadline = time.monotonic() + 30
        while not backend.takes_parts():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        plan = proxy.plan(trouble, "PUT", "/packs/", times=3, spare=1)
        store.save(source, step=1, wait=True)
        assert plan.met == 3
        store.restore(tmp_path / "restored")
    for path in source.iterdir():
        assert (tmp_path / "restored" / path.name).read_bytes() == path.read_bytes()
