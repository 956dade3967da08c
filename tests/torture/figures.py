"""What a campaign found, as it is printed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figures:
    """Counts with their names, a table of where the blows fell, and complaints, of which there should be none."""

    title: str
    counts: Counter[str] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By what the writer was doing, and in the middle of which request."""
    complaints: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self) -> None:
        """Print in one line how far it came."""
        so_far = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        print(f"{time.monotonic() - self.began:6.0f} s: {so_far}; {len(self.complaints)} complaints", flush=True)

    def show(self) -> None:
        """Print everything."""
        seconds = time.monotonic() - self.began
        print(f"\n== {self.title} ({seconds:.0f} s, {60 * self.hits.total() / seconds:.0f} a minute)")
        for (phase, request), count in sorted(self.hits.items()):
            print(f"  {phase:<10} {request:<40} {count:>6}")
        for name, count in self.counts.items():
            print(f"  {count:>8}  {name}")
        for complaint in self.complaints[:20]:
            print(f"  COMPLAINT: {complaint}")
        print(f"  {len(self.complaints):>8}  complaints", flush=True)
