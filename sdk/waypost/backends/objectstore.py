"""A store in S3, GCS or Azure, or in anything that speaks one of their languages, through obstore.

One request per call: obstore's own retries are off, because the store decides what is repeated and for how long, and
a retry below would turn our own success into "exists". Every PUT carries a checksum: S3 servers were seen to keep a
truncated object when the client vanished during an unsigned PUT without one. Nothing is cached.

Which error means what is read from obstore's exception and, where that is too coarse (a missing bucket looks like a
missing key), from the server's own words, which every message carries.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from waypost.backends.protocol import (
    AbsentError,
    BackendError,
    ExistsError,
    RefusedError,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)
from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

_AMAZON: Final = ("s3", "s3a")
_GOOGLE: Final = ("gs", "gcs")

_REQUEST_TIMEOUT: Final = datetime.timedelta(seconds=120)
"""A pack of 32 MiB over a line of a few Mbit/s has to fit."""
_CONNECT_TIMEOUT: Final = datetime.timedelta(seconds=10)
_PAGE: Final = 1000

_NO_BUCKET: Final = re.compile(r"NoSuchBucket|bucket does not exist|ContainerNotFound|InvalidBucketName", re.IGNORECASE)
_DENIED: Final = re.compile(
    r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|RequestTimeTooSkewed|"
    r"AuthenticationFailed|AuthorizationFailure|status 40[13]|40[13] (Forbidden|Unauthorized)|permission",
    re.IGNORECASE,
)
_UNSUPPORTED: Final = re.compile(r"NotImplemented|\b501\b")
_MISTAKEN: Final = re.compile(r"\bstatus 400\b|400 Bad Request|InvalidRequest|PermanentRedirect|AuthorizationHeader")
_CREDENTIALS_ADVICE: Final = "Check the credentials (secret or service account) and what they allow on this bucket"


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

    @property
    def uri(self) -> str:
        """The store's URI."""
        return self._uri

    def put_new(self, key: str, data: bytes) -> None:
        """Create `key`, or raise ExistsError."""
        with self._translated():
            self._obstore.put(self._store, key, data, mode="create", use_multipart=False)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        with self._translated():
            self._obstore.put(self._store, key, data, use_multipart=False)

    def get(self, key: str, limit: int) -> bytes:
        """The content of `key`."""
        with self._translated(reading=True):
            answer = self._obstore.get(self._store, key)
            size = answer.meta["size"]
            if size > limit:
                raise TooLargeError(f"it has {size} bytes")
            return bytes(answer.bytes())

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """A part of the content of `key`."""
        with self._translated(reading=True):
            answer = self._obstore.get(self._store, key, options={"range": (start, start + length)})
            if answer.meta["size"] <= start:
                return b""
            return bytes(answer.bytes())

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
    def _translated(self, *, reading: bool = False) -> Iterator[None]:
        try:
            yield
        except BackendError:
            raise
        except self._errors.AlreadyExistsError as error:
            raise ExistsError(_words(error)) from error
        except (self._errors.BaseError, OSError) as error:
            raise self._kind(error, reading=reading) from error

    def _kind(self, error: Exception, *, reading: bool) -> BackendError:
        errors, words = self._errors, _words(error)
        if _NO_BUCKET.search(words):
            return RefusedError(words, "Create the bucket, or correct the URI")
        if isinstance(error, (errors.NotFoundError, FileNotFoundError)):
            if reading:
                return AbsentError(words)
            return RefusedError(words, "Check that the bucket exists and the URI names it")
        if isinstance(error, errors.PreconditionError):
            return ExistsError(words)
        if isinstance(error, (errors.PermissionDeniedError, errors.UnauthenticatedError)) or _DENIED.search(words):
            return RefusedError(words, _CREDENTIALS_ADVICE)
        if isinstance(error, (errors.NotSupportedError, NotImplementedError)) or _UNSUPPORTED.search(words):
            return UnsupportedError(words)
        if isinstance(error, errors.InvalidPathError) or _MISTAKEN.search(words):
            return RefusedError(words, "Check the URI, the endpoint and the region")
        return UnreachableError(words, "Check the endpoint and that this pod may reach it")


def _open(uri: str, base_error: type[Exception]) -> ObjectStore:
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, _, place = uri.partition("://")
    retries: RetryConfig = {"max_retries": 0, "retry_timeout": _REQUEST_TIMEOUT}
    client: ClientConfig = {"timeout": _REQUEST_TIMEOUT, "connect_timeout": _CONNECT_TIMEOUT}
    try:
        if scheme in _GOOGLE:
            return GCSStore.from_url(f"gs://{place}", client_options=client, retry_config=retries)
        if scheme not in _AMAZON:
            return AzureStore.from_url(uri, client_options=client, retry_config=retries)
        config: S3Config = {"checksum_algorithm": "SHA256"}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
            config["endpoint"] = endpoint
            client["allow_http"] = endpoint.startswith("http://")
        return S3Store.from_url(uri, config=config, client_options=client, retry_config=retries)
    except (base_error, ValueError) as error:
        raise ConfigurationError(f"can't use the checkpoint URI {uri}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """What the server said, in one line: obstore appends a long debug dump of itself."""
    text = str(error).partition("\n\nDebug source:")[0]
    return " ".join(text.split()) or type(error).__name__
