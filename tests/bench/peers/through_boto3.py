"""boto3 with s3transfer's managed transfers: `put PATH KEY`, `get KEY PATH`, `tiny COUNT KEY`; keys are bucket/key."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3

from tests.bench.peers.staged import one_by_one, timed

_FILES_AT_ONCE = 10
"""As many as s3transfer moves parts at once."""


def main(verb: str, first: str, second: str) -> None:
    client = boto3.client("s3")
    bucket, _, key = (first if verb == "get" else second).partition("/")
    with timed() as report:
        match verb:
            case "put" if os.path.isdir(first):
                files = [path for path in Path(first).rglob("*") if path.is_file()]
                with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
                    keys = [f"{key}/{path.relative_to(first)}" for path in files]
                    list(pool.map(lambda path, name: client.upload_file(str(path), bucket, name), files, keys))
            case "put":
                client.upload_file(first, bucket, key)
            case "get" if second.endswith("/"):
                pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/")
                keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
                paths = [Path(second, name.removeprefix(f"{key}/")) for name in keys]
                for folder in {path.parent for path in paths}:
                    folder.mkdir(parents=True, exist_ok=True)
                with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
                    list(pool.map(lambda name, path: client.download_file(bucket, name, str(path)), keys, paths))
            case "get":
                client.download_file(bucket, key, second)
            case "tiny":
                content = b"step=41".ljust(64)
                put = client.put_object
                act = lambda number: put(Bucket=bucket, Key=f"{key}-{number}", Body=content)  # noqa: E731
                report.update(one_by_one(int(first), act))


if __name__ == "__main__":
    main(*sys.argv[1:])
