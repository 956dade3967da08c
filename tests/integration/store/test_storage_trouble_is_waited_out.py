"""Every trouble between a program and a real S3 server, met by every kind of request: it passes unnoticed, or is named.

A whole life of a store meets the trouble once at each of its requests: nothing is lost, nothing is saved twice, and
never does a byte come back that wasn't saved.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.witness import troubles
from tests.witness.faultproxy import FaultProxy, Trouble
from waypost import contract
from waypost.checkpoints import Checkpoints
from waypost.errors import CorruptCheckpointError, StorageError
from waypost.store.calls import Budget

pytestmark = [
    pytest.mark.integration,
    # most of it is hanging and pausing: one server is enough, and the traps of servers have a file of their own
    pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True),
]

PATIENT = Budget(seconds=60.0, answer=0.6, first_pause=0.02)
LARGE = bytes(range(256)) * 1000
REQUESTS = (
    ("GET", "format.json"),
    ("LIST", "/log/"),
    ("GET", "/log/"),
    ("PUT", "/log/"),
    ("PUT", "/packs/"),
    ("PUT", "/manifests/"),
    ("GET", "/packs/"),
    ("GET", "/manifests/"),
    ("PUT", "format.json"),
    ("PUT", "/probe/"),
    ("GET", "/probe/"),
    ("DELETE", "/probe/"),
)
TROUBLES: dict[str, Trouble] = {
    "503 SlowDown": troubles.SLOW_DOWN,
    "503 SlowDown with Retry-After": troubles.SLOW_DOWN_FOR_A_WHILE,
    "429": troubles.TOO_MANY_REQUESTS,
    "500": troubles.INTERNAL_ERROR,
    "reset before": troubles.reset_before,
    "answer lost": troubles.lose_answer,
    "hang": troubles.hang,
    "hang after": troubles.hang_after,
    "upload cut": troubles.cut_upload,
    "download cut": troubles.cut_download,
    "download shortened": troubles.shorten,
    "wrong bit": troubles.corrupt,
    "delivered twice": troubles.deliver_twice,
    "slow loris": troubles.trickle(7, 0.2),
    "expired token": troubles.EXPIRED_TOKEN,
    "clock skew": troubles.TIME_TOO_SKEWED,
}


@pytest.mark.parametrize("name", TROUBLES)
def test_a_trouble_that_passes_goes_unnoticed(
    s3: str, proxy: FaultProxy, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = tmp_path_factory.mktemp("source")
    for number in range(600):  # so many that their list needs a manifest of its own
        (source / f"{number:03}-{'x' * 60}").write_bytes(b"%d" % number)
    (source / "large").write_bytes(LARGE)
    plans = [proxy.plan(TROUBLES[name], verb, part) for verb, part in REQUESTS]
    with Checkpoints(s3, attempt=1, starting=PATIENT, saving=PATIENT) as first:
        assert first.base is None
        assert first.save(b"tiny", step=1, wait=True).result().sequence == 2
        assert first.save(LARGE, step=2, wait=True).result().sequence == 3
        assert first.save(source, step=3, wait=True).result().sequence == 4
    with Checkpoints(s3, attempt=2, starting=PATIENT, saving=PATIENT) as second:
        target = tmp_path_factory.mktemp("target")
        info = second.restore(target)
        assert info is not None
        assert info.step == 3
        assert {path.name: path.read_bytes() for path in target.iterdir()} == {
            path.name: path.read_bytes() for path in source.iterdir()
        }
        assert [second.read_bytes(number) for number in (2, 3)] == [b"tiny", LARGE]
        assert [(info.step, info.sequence) for info in second.list()] == [(3, 4), (2, 3), (1, 2)]
    assert {plan.met for plan in plans} == {1}, [(plan.verb, plan.part) for plan in plans if plan.met != 1]


# --- Trouble that doesn't pass ---------------------------------------------------------------------------------------
HASTY = Budget(seconds=2.0, answer=0.7, longest_pause=0.5)
LASTING = {
    "503 SlowDown": "503 Service Unavailable, SlowDown",
    "429": "429 Too Many Requests",
    "500": "500 Internal Server Error",
    "reset before": "Connection reset",
    "hang": "no answer in time",
    "slow loris": "no answer in time",
    "download cut": "body error",
    "expired token": "ExpiredToken",
    "clock skew": "RequestTimeTooSkewed",
}


@pytest.mark.parametrize("name", LASTING)
def test_a_start_that_meets_lasting_trouble_ends_within_its_budget(s3: str, proxy: FaultProxy, name: str) -> None:
    Checkpoints(s3, attempt=1).close()
    plan = proxy.plan(TROUBLES[name], times=None)
    began = time.monotonic()
    with pytest.raises(StorageError, match=LASTING[name]) as caught:
        Checkpoints(s3, attempt=2, starting=HASTY)
    assert time.monotonic() - began < HASTY.seconds + 4
    assert plan.met > 1
    assert str(caught.value).startswith(f"can't read format.json of {s3}: ")
    assert f"(tried {plan.met} times in " in str(caught.value)
    assert caught.value.exit_code == contract.EXIT_STORAGE


@pytest.mark.parametrize(
    ("name", "verb", "part", "operation", "outcome"),
    [
        ("500", "PUT", "/packs/", "write a pack to", "not saved"),
        ("hang", "PUT", "/packs/", "write a pack to", "not saved"),
        ("500", "", "/log/", "read log entry 2 of", "unknown"),
        ("hang", "", "/log/", "read log entry 2 of", "unknown"),
        ("answer lost", "GET", "/log/", "", ""),
        ("hang", "PUT", "/log/", "append CHECKPOINT as log entry 2 of", "unknown"),
        ("expired token", "PUT", "/log/", "append CHECKPOINT as log entry 2 of", "not saved"),
        ("clock skew", "PUT", "/log/", "append CHECKPOINT as log entry 2 of", "not saved"),
    ],
)
def test_a_save_that_meets_lasting_trouble_says_what_is_known(
    s3: str, proxy: FaultProxy, name: str, verb: str, part: str, operation: str, outcome: str
) -> None:
    with Checkpoints(s3, attempt=1, saving=HASTY) as store:
        proxy.plan(TROUBLES[name], verb, part, times=None)
        began = time.monotonic()
        if operation:
            with pytest.raises(StorageError) as caught:
                store.save(LARGE, step=1, wait=True)
            assert (caught.value.operation, caught.value.outcome) == (operation, outcome)
            assert caught.value.uri == s3
        else:
            store.save(LARGE, step=1, wait=True)  # nothing has to be read as long as the PUT's own answer comes
        assert time.monotonic() - began < HASTY.seconds + 5
        proxy.relent()
        again = store.save(b"again", step=2, wait=True).result()
        assert store.read_bytes(again.sequence) == b"again", "the store is whole, and this attempt goes on with it"


def test_wrong_bytes_that_stay_wrong_are_never_delivered(s3: str, proxy: FaultProxy) -> None:
    with Checkpoints(s3, attempt=1) as store:
        store.save(LARGE, step=1, wait=True)
    plan = proxy.plan(troubles.corrupt, "GET", "/packs/", times=None)
    with Checkpoints(s3, attempt=2) as second:
        with pytest.raises(CorruptCheckpointError, match="doesn't have the content that was saved"):
            second.read_bytes()
        assert plan.met > 2
        proxy.relent()
        assert second.read_bytes() == LARGE


def test_one_wrong_pack_of_many_is_read_again_alone(s3: str, proxy: FaultProxy) -> None:
    content = os.urandom(73 << 20)  # several packs
    with Checkpoints(s3, attempt=1) as store:
        store.save(content, step=1, wait=True)
    with Checkpoints(s3, attempt=2) as second:
        proxy.count()
        proxy.plan(troubles.corrupt, "GET", "/packs/", spare=2)
        assert second.read_bytes() == content
        packs = proxy.count()["GET packs"]
        second.read_bytes()
        assert packs == proxy.count()["GET packs"] + 1


def test_a_slow_line_is_no_trouble(s3: str, proxy: FaultProxy) -> None:
    """A transfer gets the time that its bytes need, however short the limit for an answer is."""
    content = os.urandom(2 << 20)
    with Checkpoints(s3, attempt=1) as store:
        store.save(content, step=1, wait=True)
    plan = proxy.plan(troubles.trickle(32 << 10, 0.05), "GET", "/packs/", times=None)
    with Checkpoints(s3, attempt=2, saving=Budget(seconds=5.0, answer=0.5)) as second:
        began = time.monotonic()
        assert second.read_bytes() == content
        assert time.monotonic() - began > 1.0
    assert plan.met == 1
