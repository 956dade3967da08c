"""A store in S3, GCS or Azure, or in anything that speaks one of their languages, through obstore.

One request per call: obstore's own retries are off, because the store decides what is repeated and for how long, and
a retry below would turn our own success into "exists". Nothing is cached.

Every PUT carries a checksum: S3 servers were seen to keep a truncated object when the client vanished during an
unsigned PUT without one. By default that is SHA-256, which is also what the signature covers, so that any server checks
it, also one that knows no checksums; it costs 0.6 s of CPU for each GiB. CRC-64/NVME costs a tenth of that, but only
some servers check it: Amazon's own S3 is known to, any other one is asked (`checksums.py`). There packs carry that one,
and leave the rest of what a signature would add to TLS. Entries of the log, a page each, are signed everywhere.

Each request in flight has a connection of its own (HTTP/1.1): over HTTP/2 all would share one, and its window.

Large parts of objects of S3 are read by a client of our own (`ranged.py`), which obstore signs for: for each record of
16 KiB obstore's I/O thread wakes the one that waits for bytes (139,000 futex calls a GiB, as strace and perf show), and
no setting makes it hand over more at once.

Which error means what is read from the server's own words (`answers.py`), which every message carries.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from waypost.backends.answers import Answer, meaning
from waypost.backends.checksums import DAMAGED_BODIES, REFUSALS, Belief, Known, questions
from waypost.backends.direct import DirectPuts
from waypost.backends.protocol import (
    PIECE,
    AbsentError,
    BackendError,
    Cord,
    Part,
    RefusedError,
    Take,
    TooLargeError,
    UnsupportedError,
    throw_away_key,
)
from waypost.backends.ranged import WORTH, RangedReads
from waypost.contract import ENV_FETCH
from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

_AMAZON: Final = ("s3", "s3a")
_GOOGLE: Final = ("gs", "gcs")

_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL")
"""Where a server of one's own is named; plain HTTP is spoken only to one that is named so."""

_REQUEST_TIMEOUT: Final = datetime.timedelta(minutes=10)
"""When a connection is given up for good. How long anybody waits for it is decided in `waypost.store.calls`."""
_CONNECT_TIMEOUT: Final = datetime.timedelta(seconds=10)
_PROBE_TIMEOUT: Final = datetime.timedelta(seconds=30)
_PROBE_BYTES: Final = 16 * 1024
_PAGE: Final = 1000
_LARGE: Final = 64 * 1024
_LANES: Final = 4
"""Requests to begin with, where they are only read."""
_RANGE_NOT_SATISFIABLE: Final = 416


class ObjectStoreBackend:
    """The bucket and prefix named by an object-store URI."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigurationError when obstore isn't installed or can't make sense of URI and environment."""
        self._uri = uri
        try:
            import obstore
            from obstore import exceptions
        except ImportError as error:
            raise ConfigurationError(
                f"can't use the checkpoint URI {uri}: object stores need the package obstore; install waypost[s3]"
            ) from error
        self._obstore, self._errors = obstore, exceptions
        self._store = _open(uri, exceptions.BaseError)
        """For everything, or everything but what is large."""
        self._bulk = self._store
        self._checks: Belief | Known | None = None
        """Whether what is large may go by `_bulk`."""
        self._ranged: RangedReads | None = None
        """For large parts, where the store's language is S3's."""
        self._direct: DirectPuts | None = None
        """For parts of files, likewise."""
        if uri.partition("://")[0] in _AMAZON:
            self._bulk = _open(uri, exceptions.BaseError, _CHECKED)
            self._checks = Belief(self._refuses_damage) if _own_endpoint() else Known()
            self._direct = DirectPuts(self._store, obstore)
            if os.environ.get(ENV_FETCH) != "obstore":
                self._ranged = RangedReads(self._store, obstore)

    @property
    def uri(self) -> str:
        """The store's URI."""
        return self._uri

    @property
    def first_requests(self) -> int:
        """Where each lane deciphers, more of them than there are cores only wait for each other."""
        return _LANES if self._ranged is None or _in_the_open() else min(_LANES, max(2, os.cpu_count() or 1))

    def put_new(self, key: str, data: bytes) -> None:
        """Create `key`, or raise ExistsError."""
        with self._translated(creating=True):
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        if len(data) > _LARGE and self._checks is not None and self._checks.holds_for(len(data)):
            try:
                self._put(self._bulk, key, data)
            except RefusedError:
                self._put(self._store, key, data)  # what is refused like this, too, was no matter of the checksum
                self._checks.doubt()
            return
        self._put(self._store, key, data)

    def expect(self, length: int) -> None:
        """So many bytes are going to be put."""
        if self._checks is not None:
            self._checks.expect(length)

    def prepare(self) -> None:
        """Load what sends parts of files, if it may come to that."""
        if self._direct is not None and _in_the_open() and os.environ.get("AWS_ACCESS_KEY_ID"):
            self._direct.possible()

    def takes_parts(self) -> bool:
        """Whether parts of files can be sent from where they are."""
        return (
            self._checks is not None and self._direct is not None and self._checks.holds() and self._direct.possible()
        )

    def checksum(self, data: memoryview, before: int = 0) -> int:
        """CRC-64/NVME."""
        assert self._direct is not None
        return self._direct.checksum(data, before)

    def combined(self, first: int, second: int, length: int) -> int:
        """The same of two, one behind the other."""
        assert self._direct is not None
        return self._direct.combined(first, second, length)

    def put_parts(self, key: str, parts: Sequence[Part], checksum: int, cord: Cord) -> None:
        """Write `key` as these parts."""
        if not self.takes_parts():
            raise UnsupportedError("nobody would check it")
        assert self._direct is not None
        self._direct.put(key, parts, checksum, cord)

    def get(self, key: str, limit: int) -> bytes:
        """The content of `key`."""
        with self._translated(reading=True):
            answer = self._obstore.get(self._store, key)
            size = answer.meta["size"]
            if size > limit:
                raise TooLargeError(f"it has {size} bytes")
            return bytes(answer.bytes())

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        """A part of the content of `key`, as it comes in."""
        if self._ranged is not None and length >= WORTH and self._ranged.read(key, start, length, take):
            return
        with self._translated(reading=True):
            try:
                answer = self._obstore.get(self._store, key, options={"range": (start, start + length)})
            except self._errors.BaseError as error:
                if Answer.parse(str(error)).status == _RANGE_NOT_SATISFIABLE:
                    return
                raise
            pieces = iter(answer.stream(min_chunk_size=PIECE))
        while True:
            with self._translated(reading=True):
                piece = next(pieces, None)
            if piece is None:
                return
            take(memoryview(piece))  # outside: what it raises isn't the storage's

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        """Keys directly in a folder, in byte order."""
        found: list[str] = []
        with self._translated():
            pages = self._obstore.list(self._store, prefix, offset=start_after or None, chunk_size=min(limit, _PAGE))
            for page in pages:
                found += [item["path"] for item in page if "/" not in item["path"].removeprefix(prefix)]
                if len(found) >= limit:
                    break
        return found[:limit]

    def delete(self, key: str) -> None:
        """Remove `key`."""
        with contextlib.suppress(AbsentError), self._translated(reading=True):
            self._obstore.delete(self._store, key)

    def close(self) -> None:
        """Hang up; obstore's connections close by themselves when idle."""
        if self._ranged is not None:
            self._ranged.close()
        if self._direct is not None:
            self._direct.close()

    def _put(self, store: ObjectStore, key: str, data: bytes | memoryview) -> None:
        with self._translated():
            self._obstore.put(store, key, data, use_multipart=False)

    def _refuses_damage(self) -> bool:
        """Whether the server refuses bodies that their CRC-64/NVME contradicts, and keeps what stood there.

        The header of a wrong checksum isn't signed, for obstore signs none that it didn't make: a server that wants all
        of them signed refuses it in other words than those for damage, and so goes on getting SHA-256.
        """
        key, body = throw_away_key(0, 0, os.urandom(32).hex()), os.urandom(_PROBE_BYTES)
        try:
            self._put(self._bulk, key, body)
            try:
                return all(self._refuses(key, body[::-1]) for _ in range(DAMAGED_BODIES)) and (
                    self.get(key, _PROBE_BYTES) == body
                )
            finally:
                self.delete(key)
        except (BackendError, ConfigurationError):  # it is asked again later
            return False

    def _refuses(self, key: str, body: bytes) -> bool:
        if questions.are_over():
            return False
        wrong = base64.b64encode(os.urandom(8)).decode()
        store = _open(self._uri, self._errors.BaseError, _UNSIGNED, {"x-amz-checksum-crc64nvme": wrong})
        try:
            self._obstore.put(store, key, body, use_multipart=False)
        except (self._errors.BaseError, OSError) as error:
            return Answer.parse(str(error)).code in REFUSALS
        return False

    @contextlib.contextmanager
    def _translated(self, *, reading: bool = False, creating: bool = False) -> Iterator[None]:
        try:
            yield
        except BackendError:
            raise
        except self._errors.NotSupportedError as error:
            raise UnsupportedError(Answer.parse(str(error)).cause) from error
        except self._errors.InvalidPathError as error:
            raise RefusedError(Answer.parse(str(error)).cause, "Correct the URI") from error
        except (self._errors.BaseError, OSError) as error:  # obstore's "not found" is Python's own FileNotFoundError
            # not chained: the exception's text is a page of debugging, and all that matters of it is in the cause
            raise meaning(str(error), reading=reading, creating=creating) from None


def _own_endpoint() -> bool:
    """Whether `s3://` isn't Amazon's own S3 here, but something that speaks its language."""
    return bool(_s3_endpoint() or os.environ.get("AWS_ENDPOINT"))


def _s3_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _in_the_open() -> bool:
    """Whether `s3://` is reached by plain HTTP."""
    return (_s3_endpoint() or os.environ.get("AWS_ENDPOINT") or "").startswith("http://")


_SIGNED: Final[S3Config] = {"checksum_algorithm": "SHA256"}
_CHECKED: Final[S3Config] = {"checksum_algorithm": "CRC64NVME", "unsigned_payload": True}
_UNSIGNED: Final[S3Config] = {"unsigned_payload": True}


def _open(
    uri: str, base_error: type[Exception], sums: S3Config = _SIGNED, headers: Mapping[str, str] | None = None
) -> ObjectStore:
    """`headers` go along with every request, unsigned, each on a connection of its own; for the probe."""
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, _, place = uri.partition("://")
    retries: RetryConfig = {"max_retries": 0, "retry_timeout": _REQUEST_TIMEOUT}
    client: ClientConfig = {"timeout": _REQUEST_TIMEOUT, "connect_timeout": _CONNECT_TIMEOUT, "http1_only": True}
    client["allow_http"] = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    try:
        if scheme in _GOOGLE:
            return GCSStore.from_url(f"gs://{place}", client_options=client, retry_config=retries)
        if scheme not in _AMAZON:
            return AzureStore.from_url(uri, client_options=client, retry_config=retries)
        if headers is not None:
            client |= {"default_headers": dict(headers), "pool_max_idle_per_host": "0", "timeout": _PROBE_TIMEOUT}
        config: S3Config = {**sums}
        if endpoint := _s3_endpoint():
            config["endpoint"] = endpoint
        return S3Store.from_url(uri, config=config, client_options=client, retry_config=retries)
    except (base_error, ValueError) as error:
        raise ConfigurationError(f"can't use the checkpoint URI {uri}: {Answer.parse(str(error)).cause}") from error
