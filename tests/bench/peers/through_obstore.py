"""obstore alone, as its documentation uses it: `put PATH KEY`, `get KEY PATH`, `tiny COUNT KEY`; keys are bucket/key.

A file goes as a multipart upload of its defaults, and comes back as one stream. A folder goes and comes file by file,
sixteen at a time.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.bench.peers.staged import one_by_one, timed

_FILES_AT_ONCE = 16


def main(verb: str, first: str, second: str) -> None:
    bucket, _, key = (first if verb == "get" else second).partition("/")
    store = S3Store(bucket, client_options={"allow_http": True})

    def fetch(name: str, path: Path) -> None:
        with path.open("wb") as target:
            for piece in obstore.get(store, name).stream(min_chunk_size=10 << 20):
                target.write(piece)

    with timed() as report:
        match verb:
            case "put" if os.path.isdir(first):
                files = [path for path in Path(first).rglob("*") if path.is_file()]
                with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
                    keys = [f"{key}/{path.relative_to(first)}" for path in files]
                    list(pool.map(lambda path, name: obstore.put(store, name, path), files, keys))
            case "put":
                obstore.put(store, key, Path(first))
            case "get" if second.endswith("/"):
                keys = [item["path"] for page in obstore.list(store, key) for item in page]
                paths = [Path(second, name.removeprefix(f"{key}/")) for name in keys]
                for folder in {path.parent for path in paths}:
                    folder.mkdir(parents=True, exist_ok=True)
                with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
                    list(pool.map(fetch, keys, paths))
            case "get":
                fetch(key, Path(second))
            case "tiny":
                content = b"step=41".ljust(64)
                put = obstore.put
                act = lambda number: put(  # noqa: E731
                    store, f"{key}-{number}", content, mode="create", use_multipart=False
                )
                report.update(one_by_one(int(first), act))


if __name__ == "__main__":
    main(*sys.argv[1:])
