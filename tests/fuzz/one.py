"""One target under libFuzzer, until the time is up or something is found.

    python -m tests.fuzz.one TARGET SECONDS SEED

A process of its own, because libFuzzer ends the process it runs in.
"""

from __future__ import annotations

import logging
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["waypost"]):
    from tests.fuzz import targets

from tests.fuzz.mutation import mutate

MOST_BYTES = 16_384


def change(data: bytes, most: int, seed: int) -> bytes:
    """Mostly a change of the JSON; now and then one of bytes."""
    chance = random.Random(seed)
    if chance.random() < 0.8:
        changed = mutate(data, chance)
        if changed is not None and len(changed) <= most:
            return changed
    return bytes(atheris.Mutate(data, most))


def main(name: str, seconds: int, seed: int) -> None:
    logging.disable(logging.CRITICAL)  # every hostile entry is said loudly, a million times
    with tempfile.TemporaryDirectory(prefix="waypost-fuzz-") as folder:
        for number, good in enumerate(targets.seeds()):
            (Path(folder) / f"{number}").write_bytes(good)
        options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MOST_BYTES}", "-print_final_stats=1"]
        options += ["-rss_limit_mb=1024", "-timeout=10", f"-artifact_prefix={Path.cwd()}/fuzz-{name}-"]
        atheris.Setup([sys.argv[0], *options, folder], targets.TARGETS[name], custom_mutator=change)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
