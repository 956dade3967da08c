"""A training loop on every core, and a large file that is uploaded beside it: `WHAT PATH KEY`.

A step is a forward and a backward pass of a small network in torch. Steps are counted alone, then while the file goes
to the store, then alone again; `share` is what is left of the speed, in percent of the mean of both. A library without
an upload of its own beside the program runs in a thread, which is how it is used.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.bench.peers.staged import timed

_ALONE_SECONDS = 3.0
_LIMIT_SECONDS = 120.0


def main(what: str, path: str, key: str, seconds: str = str(_ALONE_SECONDS)) -> None:
    upload = _UPLOADS[what](path, key)
    network = torch.nn.Sequential(torch.nn.Linear(1024, 2048), torch.nn.ReLU(), torch.nn.Linear(2048, 1024))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    batch = torch.randn(256, 1024)

    def steps_per_second(until: Callable[[float], bool]) -> tuple[float, float]:
        began, count = time.perf_counter(), 0
        while not until(taken := time.perf_counter() - began):
            optimizer.zero_grad()
            network(batch).square().mean().backward()
            optimizer.step()
            count += 1
        return count / taken, taken

    steps_per_second(lambda taken: taken > 1.0)
    with timed() as report:
        before, _ = steps_per_second(lambda taken: taken > float(seconds))
        done = upload()
        beside, took = steps_per_second(lambda taken: (taken > 0 and done()) or taken > _LIMIT_SECONDS)
        finished = done()
        after, _ = steps_per_second(lambda taken: taken > float(seconds))
        report["seconds"], report["share"] = took, 100 * beside / ((before + after) / 2)
    if not finished:
        raise SystemExit(f"training: the upload by {what} has not ended after {_LIMIT_SECONDS:.0f} s")


Upload = Callable[[], Callable[[], bool]]


def _in_a_thread(put: Callable[[], object]) -> Upload:
    def begin() -> Callable[[], bool]:
        thread = threading.Thread(target=put)
        thread.start()
        return lambda: not thread.is_alive()

    return begin


def _waypost(path: str, key: str) -> Upload:
    from waypost import Checkpoints

    checkpoints: Any = Checkpoints(f"s3://{key}", attempt=1)
    return lambda: checkpoints.save(path, step=1).done


def _s3fs(path: str, key: str) -> Upload:
    import s3fs

    system = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return _in_a_thread(lambda: system.put(path, key))


def _boto3(path: str, key: str) -> Upload:
    import boto3

    client, (bucket, _, name) = boto3.client("s3"), key.partition("/")
    return _in_a_thread(lambda: client.upload_file(path, bucket, name))


def _obstore(path: str, key: str) -> Upload:
    from pathlib import Path

    import obstore
    from obstore.store import S3Store

    bucket, _, name = key.partition("/")
    store = S3Store(bucket, client_options={"allow_http": True})
    return _in_a_thread(lambda: obstore.put(store, name, Path(path)))


_UPLOADS = {"waypost": _waypost, "s3fs": _s3fs, "boto3": _boto3, "obstore": _obstore}

if __name__ == "__main__":
    main(*sys.argv[1:])
