"""What a benchmark asks of the server that it moves bytes to: the sink, or a real one."""

from __future__ import annotations

from typing import Protocol

from tests.bench.sink import Counts


class Server(Protocol):
    """A running S3 server, empty but for its bucket."""

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """What an S3 client needs in its environment."""

    def settings(self, *, latency_seconds: float = 0.0, rate_mib: float = 0.0) -> None:
        """From here on each request takes so much longer, over a link of `rate_mib` MiB/s (0: as fast as it goes)."""

    def counts(self) -> Counts:
        """What happened since `forget`; empty for a server that doesn't count."""

    def forget(self) -> None:
        """Count from here on."""

    def empty(self) -> None:
        """Remove every object."""

    def cpu_seconds(self) -> float:
        """Processor time that the server itself has used so far."""
