"""Runs schedules until the first violation, and prints what it found as one line of JSON.

Run by `make holes` in a scratch copy whose store has a hole; `python -m tests.simulator.hunt BOUND [CAST …]`.
"""

from __future__ import annotations

import json
import sys

from tests.simulator.casts import CASTS
from tests.simulator.figures import run


def main() -> int:
    bound, casts = int(sys.argv[1]), tuple(sys.argv[2:]) or tuple(CASTS)
    figures = run(range(bound), casts, first_only=True)
    found = figures.violations[0] if figures.violations else None
    print(json.dumps({"schedules": figures.schedules, "found": found and [found.seed, found.cast, found.verdict]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
