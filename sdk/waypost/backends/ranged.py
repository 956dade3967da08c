"""Parts of large objects of S3, by a client of our own: what a restore consists of.

obstore wakes two threads for each piece that arrives, and copies it twice. Reading by http.client into memory that is
used again takes half the CPU over http and two thirds over TLS (docs/benchmarks.md), and that is what a restore waits
for on a pod of few cores. It is a client for one request only, a GET of a range that is answered by 206 and a length.
obstore signs it (a presigned address, 13 µs), so that credentials come from one place, and whatever is out of the
ordinary is left to obstore: `read` says so, and hasn't handed out a byte then.

No request is repeated here, with the one exception that every client makes: a connection that was kept from the
last request may have been closed by the server meanwhile, which shows when the next one gets no answer at all.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import http.client
import os
import re
import ssl
import urllib.parse
from typing import TYPE_CHECKING, Any, Final

from waypost.backends import connections
from waypost.backends.addresses import broken, is_proxied, shown
from waypost.backends.aligned import between
from waypost.backends.answers import as_obstore_says, meaning
from waypost.backends.connections import Connection, Kept
from waypost.backends.held import OwnLock
from waypost.backends.protocol import PIECE, Take
from waypost.log import logger

if TYPE_CHECKING:
    from obstore.store import ObjectStore

WORTH: Final = 256 * 1024
"""Bytes from which on it pays."""
_VALID: Final = datetime.timedelta(minutes=15)
"""How long an address is good for; each is used once, at once."""
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(?:\d+|\*)", re.ASCII)
_AS_IT_IS: Final = ("", "identity", "aws-chunked")
_NOT_OURS: Final = ("SKIP_SIGNATURE", "PROXY_URL", "PROXY_CA_CERTIFICATE", "ALLOW_INVALID_CERTIFICATES")
"""Settings of obstore's, as AWS_...: with one of them it reads everything."""
_UNDERSTOOD: Final = (404, 408, 416, 429)
"""Of what clients are told to have done wrong; the rest may be about a signature in the address (400, 403, 414)."""
_MOST_REFUSALS: Final = 3
"""One behind the other; fewer may be of the moment (a token that has just expired)."""
_MOST_SAID: Final = 64 * 1024
_MOST_SPARE: Final = 4


class RangedReads:
    """Reads ranges of one store's objects. May be used by several threads at once."""

    def __init__(self, store: ObjectStore, obstore: Any) -> None:
        """Makes no request. `obstore`: the module."""
        self._store, self._obstore = store, obstore
        self._lock, self._closed = OwnLock(), False
        self._kept = Kept()
        self._spare: collections.deque[memoryview] = collections.deque(maxlen=_MOST_SPARE)
        """Memory for pieces, between two requests: pages that are new to a process cost more than what is read into."""
        self._context: ssl.SSLContext | None = None
        self._direct = False
        """Whether it is known that no proxy stands between."""
        self._off, self._refusals = any(os.environ.get(f"AWS_{name}") for name in _NOT_OURS), 0

    def read(self, key: str, start: int, length: int, take: Take) -> bool:
        """Give a range to `take`, piece by piece; False, with nothing given, if obstore has to be asked for it.

        Raises BackendError, and what `take` raises.
        """
        address = None if self._off else self._sign(key)
        if address is None:
            return False
        try:
            opened = self._open(address, {"Range": f"bytes={start}-{start + length - 1}"})
        except (OSError, http.client.HTTPException) as error:
            raise broken(error, "GET", address, reading=True) from error
        if opened is None:
            return False
        connection, answer = opened
        whole = False
        try:
            expected = self._expected(answer, start, length, address)
            if expected is None:
                return False
            self._hand_on(connection, answer, expected, take, address)
            whole = True
        finally:
            self._kept.put_away(connection, answer, whole=whole)
        return True

    def close(self) -> None:
        """Hang up."""
        self._off = self._closed = True
        self._kept.close()
        self._spare.clear()

    def _sign(self, key: str) -> urllib.parse.SplitResult | None:
        try:
            signed: str = self._obstore.sign(self._store, "GET", key, _VALID)
        except Exception as error:  # noqa: BLE001 - obstore will say it in its own words, or do without a signature
            logger.debug("can't sign an address of %s: %s", key, error)
            return None
        address = urllib.parse.urlsplit(signed)
        if not self._direct:
            if is_proxied(address):
                self._turn_off("there is a proxy")
                return None
            self._direct = True
        return address

    def _turn_off(self, reason: str) -> None:
        self._off = True
        logger.debug("ranges are read by obstore from here on: %s", reason)

    def _open(
        self, address: urllib.parse.SplitResult, headers: dict[str, str]
    ) -> tuple[Connection, http.client.HTTPResponse] | None:
        """Send the request; its answer's head, or None where nobody can be reached. Raises OSError, HTTPException."""
        target = f"{address.path}?{address.query}"
        while (kept := self._kept.take()) is not None:
            with contextlib.suppress(
                http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLError
            ):
                return kept, _ask(kept, target, headers)
            # closed since its last answer: nothing was done
        connection = self._connection(address)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            self._turn_off(f"{address.netloc} isn't trusted: {error}")
            return None
        except OSError as error:
            logger.debug("no connection to %s: %s", address.netloc, error)
            return None
        return connection, _ask(connection, target, headers)

    def _connection(self, address: urllib.parse.SplitResult) -> Connection:
        assert address.hostname is not None
        if address.scheme != "https":
            return Connection(address.hostname, address.port or http.client.HTTP_PORT, None)
        with self._lock:
            if self._context is None:
                self._context = connections.context()
        return Connection(address.hostname, address.port or http.client.HTTPS_PORT, self._context)

    def _expected(
        self, answer: http.client.HTTPResponse, start: int, length: int, address: urllib.parse.SplitResult
    ) -> int | None:
        """How many bytes the answer brings; None if it isn't understood here. Raises what an error means."""
        if 400 <= answer.status < 500 and answer.status not in _UNDERSTOOD:  # obstore signs by a header
            self._refusals += 1
            if self._refusals >= _MOST_REFUSALS:
                self._turn_off(f"{address.netloc} refuses signed addresses ({answer.status} {answer.reason})")
            return None
        if answer.status >= http.client.BAD_REQUEST and answer.status != http.client.NOT_IMPLEMENTED:
            if answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return 0
            body = ""
            with contextlib.suppress(OSError, http.client.HTTPException):
                body = answer.read(_MOST_SAID).decode(errors="replace")
            said = as_obstore_says("GET", shown(address), answer.status, answer.reason, body)
            raise meaning(said, reading=True)
        told = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        encoding = answer.headers.get("Content-Encoding", "identity")
        if answer.status != http.client.PARTIAL_CONTENT or told is None or answer.length is None:
            return None
        first, last = int(told[1]), int(told[2])
        odd = first != start or last >= start + length or last - first + 1 != answer.length
        if odd or encoding not in _AS_IT_IS:
            return None
        self._refusals = 0
        return answer.length

    def _hand_on(
        self,
        connection: Connection,
        answer: http.client.HTTPResponse,
        expected: int,
        take: Take,
        address: urllib.parse.SplitResult,
    ) -> None:
        pull = getattr(take, "pull", _nothing_pulled)
        left = expected
        memory: memoryview | None = None

        def fill(target: memoryview) -> int:
            try:
                size = answer.readinto(target)
            except (OSError, http.client.HTTPException) as error:
                raise broken(error, "GET", address, reading=True) from error
            if not size:
                early = EOFError(f"the connection ended {left} of {expected} bytes too early")
                raise broken(early, "GET", address, reading=True)
            return size

        while left:
            most = min(left, PIECE)
            size = pull(fill, most, connection.shut)
            if size is None:
                memory = memory or self._memory()
                size = fill(memory[:most])
                take(memory[:size])
            left -= size
        if memory is not None and not self._closed:
            self._spare.append(memory)  # who failed may have handed it on

    def _memory(self) -> memoryview:
        try:
            return self._spare.pop()
        except IndexError:
            return between(PIECE)


def _nothing_pulled(_fill: object, _most: int, _hang_up: object) -> None:
    """Of a taker without memory of its own."""


def _ask(connection: Connection, target: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Send a request; its answer's head. Hangs up if there is none. Raises OSError, HTTPException."""
    try:
        connection.request("GET", target, headers=headers)
        return connection.getresponse()
    except BaseException:
        connection.close()
        raise
