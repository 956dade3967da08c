"""Connections that read large answers at the speed of the machine, in the shape that http.client works with.

Over plain TCP the kernel is asked for all of a piece in one call, and puts it where it belongs. Python's own socket
returns with what happens to be there, to ask for the rest: each time its thread needs the interpreter, for which others
wait. Over TLS, Python's SSLSocket asks the kernel twice for each record of 16 KiB. Here the kernel is asked for a
quarter of a MiB, and the records are deciphered out of that: a third less CPU in all (docs/benchmarks.md).

Which certificates are trusted is what OpenSSL's own variables say (SSL_CERT_FILE, SSL_CERT_DIR), which obstore heeds
too, or the system's store.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any, Final

from waypost.backends.aligned import between
from waypost.backends.held import OwnLock

CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 60.0
"""When a connection without a sign of life is given up for good; its caller may have gone on long before."""
_GULP: Final = 256 * 1024
"""Bytes of TLS that the kernel is asked for at a time."""
_HEAD: Final = io.DEFAULT_BUFFER_SIZE
"""Bytes that may be more than are coming: http.client asks for so many to find an answer's head in."""


_IDLE_SECONDS: Final = 15.0
"""After so long a kept connection isn't trusted any more: servers close theirs after 20 s and more."""
_MOST_KEPT: Final = 16


class Connection(http.client.HTTPConnection):
    """One connection to a server, over TLS if there is a context for it."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Connects nothing yet."""
        super().__init__(host, port, timeout=CONNECT_SECONDS)
        self._context = context
        self.line: socket.socket | None = None
        """What it speaks through, below TLS; it blocks, and falls silent for SILENT_SECONDS at most."""
        if context is not None:
            self.default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        """Connect. Raises OSError, of which ssl.SSLError is one."""
        address: Any = _octets(self.host), self.port
        plain = socket.create_connection(address, self.timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.settimeout(None)  # or each read would ask twice: whether something is there, and for it
            _limit(plain, CONNECT_SECONDS)
            line: Any = _Line(plain) if self._context is None else _Deciphered(plain, self._context, self.host)
            _limit(plain, SILENT_SECONDS)
        except BaseException:
            plain.close()
            raise
        self.line, self.sock = plain, line

    def shut(self) -> None:
        """End what another thread is reading or sending, which discards the connection then."""
        if self.line is not None:
            with contextlib.suppress(OSError):
                self.line.shutdown(socket.SHUT_RDWR)


def _octets(host: str) -> str | bytes:
    """A name as the resolver takes it: Python loads its tables of all scripts, some ms, for any name that is a text."""
    return host.encode("ascii") if host.isascii() else host


class Kept:
    """Connections between two requests. May be used by several threads at once."""

    def __init__(self) -> None:
        self._lock = OwnLock()
        self._kept: list[tuple[float, Connection]] = []
        self._process, self._closed = os.getpid(), False

    def take(self) -> Connection | None:
        """One that most likely is still open."""
        with self._lock:
            if self._process != os.getpid():  # forked: these are the parent's, who goes on to use them
                self._process, self._kept = os.getpid(), []
            while self._kept:
                since, connection = self._kept.pop()
                if time.monotonic() - since < _IDLE_SECONDS:
                    return connection
                connection.close()
        return None

    def put_away(self, connection: Connection, answer: http.client.HTTPResponse | None, *, whole: bool) -> None:
        """Keep a connection whose answer was read to its end; hang up on any other."""
        if whole and answer is not None and answer.isclosed() and not answer.will_close:
            with self._lock:
                if len(self._kept) < _MOST_KEPT and self._process == os.getpid() and not self._closed:
                    self._kept.append((time.monotonic(), connection))
                    return
        if answer is not None:
            answer.close()
        connection.close()

    def close(self) -> None:
        """Hang up, and keep none any more."""
        with self._lock:
            kept, self._kept, self._closed = self._kept, [], True
        for _, connection in kept:
            connection.close()


class _Line:
    """What http.client needs of a socket. Owned by one thread at a time."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._files, self._closing = 0, False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """An answer, as a file. Closing it leaves the connection open, unless `close` was called."""
        self._files += 1
        return io.BufferedReader(_Answers(self))

    def close(self) -> None:
        """Hang up, without a word, once no answer is being read any more, as sockets do it.

        http.client closes a connection that a server is going to close before it reads what that still says.
        """
        self._closing = True
        self._hang_up()

    def file_closed(self) -> None:
        """One of the files isn't used any more."""
        self._files -= 1
        self._hang_up()

    def _hang_up(self) -> None:
        if self._closing and not self._files:
            self._plain.close()

    def sendall(self, data: bytes) -> None:
        """Send all of it: a request's head. Raises OSError."""
        with _in_time():
            self._plain.sendall(data)

    def recv_into(self, target: memoryview) -> int:
        """Read what has arrived, and at least a byte; of a large target all. 0 at the end. Raises OSError."""
        with _in_time():
            return self._plain.recv_into(target, 0, socket.MSG_WAITALL if len(target) > _HEAD else 0)


class _Deciphered(_Line):
    """The same over TLS."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        super().__init__(plain)
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)
        self._gulp = between(_GULP)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send()
                self._receive()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._send()  # the alert that tells the server why
                raise
            else:
                break
        self._send()

    def sendall(self, data: bytes) -> None:
        """Send all of it: a request's head. Raises OSError."""
        self._tls.write(data)
        self._send()

    def recv_into(self, target: memoryview) -> int:
        """Read what has arrived, and at least a byte; 0 at the end. Raises OSError, also for an end without goodbye."""
        got, wanted = 0, len(target)
        read: Any = self._tls.read  # with a buffer it returns a number
        while got < wanted:
            try:
                size = read(wanted - got, target[got:])
            except ssl.SSLWantReadError:
                if got:
                    break
                self._send()  # an answer to a change of keys
                self._receive()
                continue
            except ssl.SSLZeroReturnError:
                break
            if not size:  # the other said goodbye: Python has no exception for that as long as we didn't
                break
            got += size
        return got

    def _send(self) -> None:
        if data := self._leaving.read():
            super().sendall(data)

    def _receive(self) -> None:
        with _in_time():
            size = self._plain.recv_into(self._gulp)
        if size:
            self._arrived.write(self._gulp[:size])
        else:
            self._arrived.write_eof()  # TLS tells a cut from an end: without a goodbye this raises SSLEOFError


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raises TimeoutError for what the kernel says when a limit of ours is over."""
    try:
        yield
    except BlockingIOError as error:
        raise TimeoutError("timed out") from error


def _limit(plain: socket.socket, seconds: float) -> None:
    """How long the other end may fall silent."""
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        plain.setsockopt(socket.SOL_SOCKET, direction, limit)


class _Answers(io.RawIOBase):
    def __init__(self, connection: _Line) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._connection.file_closed()

    def readinto(self, target: Any) -> int:
        with memoryview(target) as view, view.cast("B") as octets:
            return self._connection.recv_into(octets)


def context() -> ssl.SSLContext:
    """How servers are trusted: certificate and name are verified, TLS 1.2 at least. Raises OSError."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made
