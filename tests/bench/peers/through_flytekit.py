"""flytekit's SyncCheckpoint, which is what a Flyte task calls: `put PATH URI`, `get URI PATH`."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("FLYTE_AWS_ENDPOINT", os.environ["AWS_ENDPOINT_URL"])
os.environ.setdefault("FLYTE_AWS_ACCESS_KEY_ID", os.environ["AWS_ACCESS_KEY_ID"])
os.environ.setdefault("FLYTE_AWS_SECRET_ACCESS_KEY", os.environ["AWS_SECRET_ACCESS_KEY"])

from flytekit import FlyteContextManager
from flytekit.core.checkpointer import SyncCheckpoint

from tests.bench.peers.staged import timed


def main(verb: str, first: str, second: str) -> None:
    uri = f"s3://{second if verb == 'put' else first}"
    if verb == "get":
        os.makedirs(second, exist_ok=True)  # it restores to a folder that exists, or not at all
    checkpoint = SyncCheckpoint(checkpoint_dest=uri, checkpoint_src=uri)
    FlyteContextManager.current_context().file_access.get_filesystem("s3")
    with timed():
        if verb == "put":
            checkpoint.save(first)
        else:
            checkpoint.restore(second)


if __name__ == "__main__":
    main(*sys.argv[1:])
