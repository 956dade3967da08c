"""Waypost by its public names: `put PATH URI`, `again PATH URI`, `get URI PATH`, `tiny COUNT URI`.

Opening the store comes before the word, as connecting does elsewhere. `again` saves once before it, and times the
second save, of what changed meanwhile.
"""

from __future__ import annotations

import sys

from tests.bench.peers.staged import one_by_one, timed
from waypost import Checkpoints


def main(verb: str, first: str, second: str) -> None:
    if verb == "get":
        with Checkpoints(first, attempt=None) as checkpoints, timed():
            assert checkpoints.restore(second) is not None
        return
    with Checkpoints(second, attempt=1) as checkpoints:
        if verb == "again":
            checkpoints.save(first, step=1, wait=True)
        with timed() as report:
            if verb == "tiny":
                content = b"step=41".ljust(64)
                save = checkpoints.save
                report.update(one_by_one(int(first), lambda number: save(content, step=number, wait=True)))
            else:
                checkpoints.save(first, step=2, wait=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
