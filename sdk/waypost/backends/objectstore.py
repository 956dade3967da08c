"""A store in S3, GCS or Azure, or in anything that speaks one of their languages, through obstore.

One request per call: obstore's own retries are off, because the store decides what is repeated and for how long, and
a retry below would turn our own success into "exists". Nothing is cached.

Every PUT carries a checksum: S3 servers were seen to keep a truncated object when the client vanished during an
unsigned PUT without one. By default that is SHA-256, which is also what the signature covers, so that any server checks
it, also one that knows no checksums; it costs 0.6 s of CPU for each GiB. Amazon's own S3 is known to check CRC-64/NVME,
which costs a tenth of that; there packs carry that one, and leave what the signature would add to TLS. Entries of
the log, a page each, are signed everywhere.

Each request in flight has a connection of its own (HTTP/1.1): over HTTP/2 all would share one, and its window.

Over TLS, reading costs about twice the CPU of writing: for each record of 16 KiB the client's I/O thread wakes the one
that waits for bytes (139,000 futex calls a GiB, as strace and perf show; the ciphers are 5 % of it), and no setting of
obstore's makes it hand over more at once. Python's own http.client and ssl need a quarter less; that would be a
second S3 client to keep, for what only a machine with two cores can see.

Which error means what is read from the server's own words (`answers.py`), which every message carries.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from waypost.backends.answers import Answer, meaning
from waypost.backends.protocol import (
    PIECE,
    AbsentError,
    BackendError,
    RefusedError,
    Take,
    TooLargeError,
    UnsupportedError,
)
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
_PAGE: Final = 1000
_LARGE: Final = 64 * 1024
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
        self._bulk = _open(uri, exceptions.BaseError, unsigned=True) if _is_amazon(uri) else self._store

    @property
    def uri(self) -> str:
        """The store's URI."""
        return self._uri

    def put_new(self, key: str, data: bytes) -> None:
        """Create `key`, or raise ExistsError."""
        with self._translated(creating=True):
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        store = self._bulk if len(data) > _LARGE else self._store
        with self._translated():
            self._obstore.put(store, key, data, use_multipart=False)

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
        """Connections close by themselves when idle."""

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


def _is_amazon(uri: str) -> bool:
    """Whether this is Amazon's own S3, and not something that speaks its language."""
    return uri.partition("://")[0] in _AMAZON and not (_s3_endpoint() or os.environ.get("AWS_ENDPOINT"))


def _s3_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _open(uri: str, base_error: type[Exception], *, unsigned: bool = False) -> ObjectStore:
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
        config: S3Config = {"checksum_algorithm": "SHA256"}
        if unsigned:
            config = {"checksum_algorithm": "CRC64NVME", "unsigned_payload": True}
        if endpoint := _s3_endpoint():
            config["endpoint"] = endpoint
        return S3Store.from_url(uri, config=config, client_options=client, retry_config=retries)
    except (base_error, ValueError) as error:
        raise ConfigurationError(f"can't use the checkpoint URI {uri}: {Answer.parse(str(error)).cause}") from error
