"""Answers of a real S3 server that get lost: a save that stands is confirmed, once, and never saved twice."""

from __future__ import annotations

import pytest

from tests.integration.store.test_every_place_keeps_the_promises import another_process
from tests.witness.faultproxy import FaultProxy, Trouble
from tests.witness.troubles import Late, deliver_twice, hang_after, lose_answer
from waypost.checkpoints import Checkpoints
from waypost.errors import FencedError
from waypost.store.calls import Budget

pytestmark = pytest.mark.integration
PATIENT = Budget(seconds=60.0, answer=2.0)


@pytest.mark.parametrize("trouble", [lose_answer, hang_after, deliver_twice], ids=lambda trouble: trouble.__name__)
def test_a_save_whose_answer_got_lost_is_confirmed_once(s3: str, proxy: FaultProxy, trouble: Trouble) -> None:
    with Checkpoints(s3, attempt=1, saving=PATIENT) as store:
        plan = proxy.plan(trouble, "PUT", "/log/")
        first = store.save(b"one", step=1, wait=True).result()
        assert plan.met == 1
        second = store.save(b"two", step=2, wait=True).result()
        assert (first.sequence, second.sequence) == (2, 3)
        assert [info.step for info in store.list()] == [2, 1]


def test_a_fence_whose_answer_got_lost_is_confirmed_once(s3: str, proxy: FaultProxy) -> None:
    Checkpoints(s3, attempt=1).close()
    plan = proxy.plan(lose_answer, "PUT", "/log/")
    with Checkpoints(s3, attempt=2) as store:
        assert plan.met == 1
        assert store.save(b"x", wait=True).result().sequence == 3


def test_a_save_that_hung_and_is_delivered_after_it_was_sent_again_stands_once(s3: str, proxy: FaultProxy) -> None:
    late = Late()
    proxy.plan(late, "PUT", "/log/", spare=1)
    with Checkpoints(s3, attempt=1, saving=PATIENT) as store:
        assert store.save(b"one", step=1, wait=True).result().sequence == 2
        assert late.deliver() == 412
        assert store.save(b"two", step=2, wait=True).result().sequence == 3
        assert [store.read_bytes(sequence) for sequence in (2, 3)] == [b"one", b"two"]


def test_a_save_that_hung_and_is_delivered_after_the_next_fence_is_no_commit(s3: str, proxy: FaultProxy) -> None:
    with Checkpoints(s3, attempt=1, saving=PATIENT) as zombie:
        late = Late()
        plan = proxy.plan(late, "PUT", "/log/")
        saving = zombie.save(b"too late", step=1)
        assert plan.arrived.wait(30)
        successor = another_process(s3, attempt=2)
        assert late.deliver() == 412
        with pytest.raises(FencedError):
            saving.result(60)
        assert successor.base is None
        successor.saver.stop()
