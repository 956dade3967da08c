"""s3fs, which fsspec opens for s3:// (and flytekit with it): `put PATH KEY`, `get KEY PATH`, `tiny COUNT KEY`."""

from __future__ import annotations

import os
import sys

import s3fs

from tests.bench.peers.staged import one_by_one, timed


def main(verb: str, first: str, second: str) -> None:
    system = s3fs.S3FileSystem(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        client_kwargs={"verify": os.environ.get("AWS_CA_BUNDLE")} if "AWS_CA_BUNDLE" in os.environ else {},
        skip_instance_cache=True,
    )
    system.connect()
    with timed() as report:
        match verb:
            case "put":
                system.put(first, second, recursive=os.path.isdir(first))
            case "get":
                system.get(first, second, recursive=second.endswith("/"))
            case "tiny":
                content = b"step=41".ljust(64)
                report.update(one_by_one(int(first), lambda number: system.pipe_file(f"{second}-{number}", content)))


if __name__ == "__main__":
    main(*sys.argv[1:])
