"""An S3 server that costs next to nothing, so that what a benchmark measures is the client.

    with Sink.start("bench") as sink:                    # HTTP and TLS at once, over the same objects
        os.environ.update(sink.environment())            # or sink.environment(tls=True), with its own authority
        sink.settings(latency_seconds=0.02)              # each request takes so much longer; rate_mib=: a slow link
        sink.forget()                                    # counts from here on
        ...
        sink.counts().requests["PutObject"]
        sink.empty()                                     # no objects; their memory is used again

The program (programs/sink, Go's standard library alone) is built at first use and kept in the cache folder under the
hash of its source. Objects lie in tmpfs without a name, so nothing is left behind, whatever ends first. It claims no
conformance: no signature is looked at, and no checksum but the CRC-64/NVME of bodies up to 1 MiB, so that a client that
asks whether it is checked gets the answer that most servers give. Tests of behaviour use real servers (tests.cluster).
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.accounts import cpu_seconds
from tests.cluster.binaries import go_command
from tests.cluster.cache import cache_dir, locked
from tests.cluster.certificates import Authority
from tests.cluster.errors import ClusterError
from tests.cluster.processes import Process, wait_until_ready
from tests.cluster.s3_service import REGION
from tests.cluster.temporary import make_folder, remove_folder

SOURCE = Path(__file__).parent / "programs" / "sink"
_READY_SECONDS = 60.0
_NOTHING = urllib.request.ProxyHandler({})


@dataclass(frozen=True)
class Counts:
    """What clients did: requests by S3's name of the operation, refusals by S3's code, bytes of objects."""

    requests: Mapping[str, int]
    refused: Mapping[str, int]
    received: int
    sent: int

    @property
    def total(self) -> int:
        """Requests of every kind."""
        return sum(self.requests.values())


@dataclass
class Sink:
    """A running sink. Use it as a context manager, or call `remove`."""

    folder: Path
    http: str
    https: str
    authority: Path
    """The certificate that clients of the TLS side have to trust."""
    _process: Process

    @classmethod
    def start(cls, *buckets: str) -> Self:
        """Start it with `buckets`; the first start on a machine builds it (seconds)."""
        program, folder = sink_program(), make_folder("sink")
        try:
            authority = Authority(folder / "tls")
            certificate, key = authority.issue("sink", "sink", hosts=["127.0.0.1", "localhost"])
            ready = folder / "ready.json"
            command = [str(program), "-ready", str(ready), "-buckets", ",".join(buckets)]
            command += ["-certificate", str(certificate), "-key", str(key)]
            process = Process.start("sink", command, folder)
            wait_until_ready("the sink", ready.exists, [process], _READY_SECONDS)
            told = json.loads(ready.read_text())
        except BaseException:
            remove_folder(folder)
            raise
        return cls(folder, f"http://{told['http']}", f"https://{told['https']}", authority.certificate, process)

    def environment(self, *, tls: bool = False) -> dict[str, str]:
        """What an S3 client needs in its environment; each family of clients has its own name for the authority."""
        trusted = str(self.authority)
        names = ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        return {
            "AWS_ACCESS_KEY_ID": "waypost",
            "AWS_SECRET_ACCESS_KEY": "waypost-secret",
            "AWS_ENDPOINT_URL": self.https if tls else self.http,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **(dict.fromkeys(names, trusted) if tls else {}),
        }

    def settings(self, *, latency_seconds: float = 0.0, rate_mib: float = 0.0) -> None:
        """From here on each request takes so much longer, over a link of `rate_mib` MiB/s (0: as fast as it goes)."""
        self._ask("PUT", f"settings?latency={latency_seconds:.6f}s&rate={rate_mib}")

    def counts(self) -> Counts:
        """What happened since the start, or since `forget`."""
        return Counts(**json.loads(self._ask("GET", "counts")))

    def forget(self) -> None:
        """Count from here on."""
        self._ask("DELETE", "counts")

    def empty(self) -> None:
        """Remove every object; the buckets stay, and so does the memory, for the next."""
        self._ask("DELETE", "objects")

    def cpu_seconds(self) -> float:
        """Processor time that the sink itself has used so far."""
        return cpu_seconds(self._process.pid)

    def remove(self) -> None:
        """End it."""
        remove_folder(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.http}/-/{path}", method=method)
        with urllib.request.build_opener(_NOTHING).open(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content


def sink_program() -> Path:
    """The built program, `<cache>/bin/sink-<hash of its source>/sink`."""
    sources = sorted(path for path in SOURCE.iterdir() if path.suffix in (".go", ".mod"))
    digest = sha256(b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in sources)).hexdigest()[:12]
    program = cache_dir() / "bin" / f"sink-{digest}" / "sink"
    with locked("build-sink"):
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            partial = program.with_name(".sink.partial")
            command = [go_command(), "build", "-trimpath", "-buildvcs=false", "-o", str(partial), "."]
            build = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True)
            if build.returncode != 0:
                raise ClusterError(f"the benchmarks' S3 sink could not be built in {SOURCE}; Go says:\n{build.stderr}")
            partial.rename(program)
    return program
