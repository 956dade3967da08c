"""Parts of open files, sent to a server of S3 by the system itself (sendfile): an upload over plain HTTP.

obstore is given a pack in this process's memory: three packs' worth of it. Here the pages of a file go to the socket,
in the same time and with a little less CPU (docs/benchmarks.md), and only what was hashed passes through a buffer,
chunk by chunk. The bytes are read twice then, and may have changed in between. So this is done only where the server
is known to check CRC-64/NVME (`checksums.py`), and a body that it refuses is compared with the files.

Over TLS the system can't do it. And the checksum has to stand in the request's signature, which obstore makes for none
but its own requests: it is made here, by the AWS CRT, with a key that stands in the environment. That is how a server
of one's own within a cluster is reached. Everything else goes by obstore: `UnsupportedError` says so.

Once a try has been given up, the owner of a file may change it; but what sendfile has sent are its pages, not copies of
them, and they may wait in a socket. So a try that is cut off discards what it hasn't sent, and who cuts waits for that;
the same happens to a process that is killed. What has reached the server's socket may still be the same pages, if it is
on the same machine: what it makes of them, should it have all that it was promised, its own check refuses.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import datetime
import errno
import http.client
import os
import socket
import struct
import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult

from waypost.backends import connections
from waypost.backends.addresses import broken, is_proxied, shown
from waypost.backends.answers import as_obstore_says, meaning
from waypost.backends.connections import Connection, Kept
from waypost.backends.held import OwnLock
from waypost.backends.parts import changed, pieces_of
from waypost.backends.protocol import Cord, FilePart, Part, RefusedError, SilentError, UnsupportedError
from waypost.contract import ENV_SEND
from waypost.log import logger

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_VALID: Final = datetime.timedelta(minutes=15)
_HEADER: Final = "x-amz-checksum-crc64nvme"
_OF_THE_LINE: Final = (errno.ENOTCONN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ENOBUFS)
_OF_THE_FILE: Final = (errno.EIO, errno.ESTALE)
"""What sendfile says of the file; what it says of neither is that this file system takes no part in it."""
_MOST_SAID: Final = 64 * 1024
_DISCARDED: Final = struct.pack("ii", 1, 0)
"""For SO_LINGER: what hasn't been sent when the last one closes the connection never is."""
_UNDERSTOOD: Final = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_ALLOW_HTTP",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_MAX_ATTEMPTS",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
        "AWS_RESPONSE_CHECKSUM_VALIDATION",
        "AWS_RETRY_MODE",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    }
)
"""Settings of obstore's that are heeded here or mean nothing for a PUT. With any other (encryption, who pays, proxies)
obstore sends everything."""
_REFUSALS: Final = 3
"""One behind the other, after which it isn't tried any more."""


class DirectPuts:
    """Sends parts of files to one store. May be used by several threads at once."""

    def __init__(self, store: ObjectStore, obstore: Any) -> None:
        """Makes no request. `obstore`: the module."""
        self._store, self._obstore = store, obstore
        self._kept = Kept()
        self._lock = OwnLock()
        self._signer: _Signer | None = None
        self._refusals = 0
        others = {name for name in os.environ if name.upper().startswith("AWS_")} - _UNDERSTOOD
        self._off = os.environ.get(ENV_SEND) == "obstore" or any(os.environ[name] for name in others)

    def possible(self) -> bool:
        """Whether it can be done at all; finds out at the first call."""
        if self._off:
            return False
        with self._lock:
            if self._signer is None:
                try:
                    self._signer = _Signer(self._address("probe"))
                except _ElsewhereError as error:
                    self._turn_off(str(error))
        return self._signer is not None

    def checksum(self, data: memoryview, before: int) -> int:
        """CRC-64/NVME of `data` behind what has `before`."""
        assert self._signer is not None
        return self._signer.checksum(data, before)

    def combined(self, first: int, second: int, length: int) -> int:
        """CRC-64/NVME of what has `first` with `length` bytes behind it that have `second`."""
        assert self._signer is not None
        return self._signer.combined(first, second, length)

    def put(self, key: str, parts: Sequence[Part], checksum: int, cord: Cord) -> None:
        """As `protocol.Direct.put_parts`."""
        if not self.possible():
            raise UnsupportedError("not by this client")
        try:
            address = self._address(key)
        except _ElsewhereError as error:
            raise UnsupportedError(str(error)) from error
        length = sum(len(part) if isinstance(part, memoryview) else part.length for part in parts)
        while True:
            kept = self._kept.take()
            connection = kept or self._connect(address)
            one = _Try(connection, address, cord)
            try:
                said = one.send(self._head(address, length, checksum), parts)
            except UnsupportedError:
                self._refused("it can't be sent from its files")
                raise
            except _StaleError:
                if kept is not None:
                    continue  # closed by the server since its last answer
                raise broken(ConnectionResetError("the connection was closed"), "PUT", address) from None
            finally:
                self._kept.put_away(connection, one.answer, whole=one.whole)
                cord.let_go()
            self._judge(said, parts, checksum, address)
            return

    def close(self) -> None:
        """Hang up."""
        self._off = True
        self._kept.close()

    def _turn_off(self, reason: str) -> None:
        self._off = True
        logger.debug("packs are sent by obstore from here on: %s", reason)

    def _address(self, key: str) -> SplitResult:
        """Where obstore would send it, and as whom."""
        try:
            signed: str = self._obstore.sign(self._store, "PUT", key, _VALID)
        except Exception as error:
            raise _ElsewhereError(f"can't sign an address of {key}: {error}") from error
        return urllib.parse.urlsplit(signed)

    def _connect(self, address: SplitResult) -> Connection:
        assert address.hostname is not None
        connection = Connection(address.hostname, address.port or http.client.HTTP_PORT, None)
        try:
            connection.connect()
        except OSError as error:
            raise broken(error, "PUT", address) from error
        assert connection.line is not None
        connection.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARDED)  # whoever closes it, however
        return connection

    def _head(self, address: SplitResult, length: int, checksum: int) -> dict[str, str]:
        assert self._signer is not None
        sum_ = base64.b64encode(checksum.to_bytes(8, "big")).decode()
        return {**self._signer.signed(address, {_HEADER: sum_}), "Content-Length": str(length)}

    def _judge(self, said: _Said, parts: Sequence[Part], checksum: int, address: SplitResult) -> None:
        """Return if it was written. Raises what the answer means."""
        if said.status in (http.client.OK, http.client.CREATED, http.client.NO_CONTENT):
            self._refusals = 0
            return
        text = as_obstore_says("PUT", shown(address), said.status, said.reason, said.body)
        if "BadDigest" in said.body or "ChecksumMismatch" in said.body:
            self._require_same(parts, checksum)
        error = meaning(text)
        if not isinstance(error, RefusedError):
            raise error
        self._refused(f"{address.netloc} refuses what is sent this way ({said.status} {said.reason})")
        raise UnsupportedError(error.cause) from None  # obstore signs the whole body, and will say it if it is refused

    def _refused(self, reason: str) -> None:
        self._refusals += 1
        if self._refusals >= _REFUSALS:
            self._turn_off(reason)

    def _require_same(self, parts: Sequence[Part], checksum: int) -> None:
        found = 0
        for piece in pieces_of(parts):
            found = self.checksum(piece, found)
        if found != checksum:
            path = next((part.path for part in parts if isinstance(part, FilePart)), b"")
            raise changed(path)


class _ElsewhereError(Exception):
    """This store is for obstore to write to."""


class _StaleError(Exception):
    """The connection was closed before anything was answered."""


class _Said:
    """A server's answer."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.reason = answer.status, answer.reason
        self.body = answer.read(_MOST_SAID).decode(errors="replace")


class _LineError(Exception):
    """The connection failed, and no file."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))


class _Try:
    """One request on one connection, by one thread."""

    def __init__(self, connection: Connection, address: SplitResult, cord: Cord) -> None:
        self._connection, self._address, self._cord = connection, address, cord
        self.answer: http.client.HTTPResponse | None = None
        self.whole = False
        """Whether the connection can be used again."""

    def send(self, headers: dict[str, str], parts: Sequence[Part]) -> _Said:
        """Raises BackendError, UnsupportedError, OSError (of a file), _StaleError."""
        plain = self._connection.line
        assert plain is not None
        line = plain.dup()  # http.client closes its own at times that suit it
        try:
            self._cord.hold(lambda: _shut(line))
            said = self._ask(plain, headers, parts)
        finally:
            if not self.whole:
                _discard(line)
            line.close()
        return said

    def _ask(self, plain: socket.socket, headers: dict[str, str], parts: Sequence[Part]) -> _Said:
        interrupted: OSError | None = None
        try:
            self._send(plain, headers, parts)
        except _LineError as error:
            interrupted = error.error
            if isinstance(interrupted, TimeoutError | BlockingIOError):
                raise self._silent() from interrupted
        said = self._heard(interrupted)  # it may have said why, before it hung up
        self.whole = interrupted is None
        return said

    def _send(self, plain: socket.socket, headers: dict[str, str], parts: Sequence[Part]) -> None:
        connection = self._connection
        try:
            connection.putrequest("PUT", self._address.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
        except OSError as error:
            raise _LineError(error) from error
        for part in parts:
            if isinstance(part, FilePart):
                _send_file(plain, part)
                continue
            try:
                plain.sendall(part)
            except OSError as error:
                raise _LineError(error) from error

    def _heard(self, interrupted: OSError | None) -> _Said:
        try:
            self.answer = self._connection.getresponse()
            return _Said(self.answer)
        except TimeoutError as error:
            raise self._silent() from error
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            raise _StaleError from (interrupted or error)
        except (OSError, http.client.HTTPException) as error:
            raise broken(interrupted or error, "PUT", self._address) from error

    def _silent(self) -> SilentError:
        return SilentError(f"nothing moved for {connections.SILENT_SECONDS:.0f} s (PUT {shown(self._address)})")


def _send_file(plain: socket.socket, part: FilePart) -> None:
    at, end = part.offset, part.offset + part.length
    while at < end:
        try:
            size = os.sendfile(plain.fileno(), part.descriptor, at, end - at)
        except OSError as error:
            if error.errno in _OF_THE_FILE:
                raise
            if error.errno in _OF_THE_LINE or isinstance(error, ConnectionError | TimeoutError | BlockingIOError):
                raise _LineError(error) from error
            raise UnsupportedError(f"sendfile: {error}") from error
        if not size:
            raise changed(part.path)
        at += size


def _shut(line: socket.socket) -> None:
    """End what another thread does with the connection, which discards it then."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _discard(line: socket.socket) -> None:
    """Let nothing leave of what waits in the connection, even where a forked process holds it, too.

    Connecting to nowhere (AF_UNSPEC) takes a connection apart: see connect(2). Python's sockets can't say it.
    """
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    ctypes.CDLL(None, use_errno=True).connect(line.fileno(), nowhere, len(nowhere))


class _Signer:
    """Signs requests whose body is checked by its checksum (AWS Signature Version 4)."""

    def __init__(self, address: SplitResult) -> None:
        """`address`: one that obstore has signed for the same store. Raises _ElsewhereError."""
        query = urllib.parse.parse_qs(address.query)
        scope = query.get("X-Amz-Credential", [""])[0].split("/")
        if address.scheme != "http":
            raise _ElsewhereError("the connection is encrypted")
        if is_proxied(address):
            raise _ElsewhereError("there is a proxy")
        key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret or len(scope) < 3 or scope[0] != key:
            raise _ElsewhereError("its credentials don't stand in the environment")
        try:
            from awscrt import auth, http
            from awscrt.checksums import combine_crc64nvme, crc64nvme
        except ImportError as error:  # of the package, or of what an older one doesn't have
            raise _ElsewhereError(f"awscrt isn't there, or too old: {error}") from error
        self._auth, self._http = auth, http
        self._crc, self._combine = crc64nvme, combine_crc64nvme
        token = query.get("X-Amz-Security-Token", [None])[0]
        self._credentials = auth.AwsCredentialsProvider.new_static(key, secret, token)
        self._region = scope[2]

    def checksum(self, data: memoryview, before: int) -> int:
        """CRC-64/NVME."""
        return int(self._crc(data, before))

    def combined(self, first: int, second: int, length: int) -> int:
        """The same of two, one behind the other."""
        return int(self._combine(first, second, length))

    def signed(self, address: SplitResult, headers: dict[str, str]) -> dict[str, str]:
        """All headers of a PUT of a body that the signature doesn't cover."""
        auth = self._auth
        request = self._http.HttpRequest(
            "PUT", address.path, self._http.HttpHeaders([("Host", address.netloc), *headers.items()])
        )
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=self._credentials,
            region=self._region,
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=auth.AwsSignedBodyValue.UNSIGNED_PAYLOAD,
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        auth.aws_sign_request(request, config).result()
        return dict(request.headers)
