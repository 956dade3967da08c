"""Many threads that save, flush and read at once, on real stores: every outcome is true, and nobody hangs."""

from __future__ import annotations

import random
import threading

import pytest

from waypost.checkpoints import CheckpointInfo, Checkpoints, SaveHandle
from waypost.errors import SupersededError

pytestmark = pytest.mark.integration

THREADS = 8
SAVES = 25
LARGE = 200_000


@pytest.mark.parametrize("place", ["file", "memory", "versitygw"])
def test_what_threads_are_told_is_what_stands(uri: str) -> None:
    confirmed: dict[int, bytes] = {}
    superseded: list[bytes] = []
    trouble: list[BaseException] = []
    barrier = threading.Barrier(THREADS)

    def settle(handle: SaveHandle, content: bytes) -> None:
        try:
            info = handle.result(60)
        except SupersededError:
            superseded.append(content)
        else:
            confirmed[info.sequence] = content

    def work(number: int) -> None:
        chance = random.Random(number)
        waiting: list[tuple[SaveHandle, bytes]] = []
        try:
            barrier.wait(30)
            for step in range(SAVES):
                content = b"%03d-%03d;" % (number, step) * (LARGE // 8 if chance.random() < 0.1 else 1)
                if chance.random() < 0.3:
                    confirmed[store.save(content, step=step, wait=True).result().sequence] = content
                else:
                    waiting.append((store.save(content, step=step), content))
                if chance.random() < 0.1:
                    store.flush(60)
                if chance.random() < 0.1:
                    store.latest()
            for handle, content in waiting:
                settle(handle, content)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            trouble.append(error)

    with Checkpoints(uri, attempt=1) as store:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
            assert not thread.is_alive(), "a thread hangs"
        if trouble:
            raise trouble[0]
    assert len(confirmed) + len(superseded) == THREADS * SAVES
    assert superseded, "so many threads that none overtook another mean nothing"
    with Checkpoints(uri) as reader:
        listed: list[CheckpointInfo] = reader.list()
        assert {info.sequence for info in listed} == set(confirmed), "saved is what was told, no less and no more"
        for info in listed:
            assert reader.read_bytes(info.sequence) == confirmed[info.sequence]
