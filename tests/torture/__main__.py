"""`make torture`: kill and freeze real writers, print the figures, fail if anything was lost.

    python -m tests.torture --kills 10000 --races 1000 --seed 1

Kills are shared among the places, races are run on each; `--only` names the places, else it is all. The seed decides
every draw; what a draw hits depends on the machine's moment, so a failure is explained by what is printed, and repeated
by repeating often.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from tests.torture import kills, places, zombies


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10_000, help="in all, shared by the places")
    parser.add_argument("--races", type=int, default=1_000, help="on each place")
    parser.add_argument("--only", action="append", choices=places.NAMES, help="this place; may be repeated")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    told = parser.parse_args()
    wanted = tuple(told.only or places.NAMES)
    print(f"torture: {told.kills} kills, {told.races} zombie races each on {', '.join(wanted)}; --seed {told.seed}")
    complaints = 0
    for name in wanted:
        with (
            tempfile.TemporaryDirectory(prefix="waypost-torture-") as folder,
            places.place(name, Path(folder)) as place,
        ):
            if told.kills:
                figures = kills.torture(place, told.kills // len(wanted), told.seed)
                figures.show()
                complaints += len(figures.complaints)
            if told.races:
                figures = zombies.torture(place, told.races, told.seed)
                figures.show()
                complaints += len(figures.complaints)
    print(f"\ntorture: {complaints} complaints; --seed {told.seed}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
