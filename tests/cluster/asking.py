"""Questions to servers under test: is it there, is it ready.

Plain urllib without any proxy of the environment: all of these addresses are on this machine.
"""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from .errors import ClusterError


def http_status(
    url: str, authority: Path | None = None, client: tuple[Path, Path] | None = None, seconds: float = 3.0
) -> int | None:
    """The status that GET `url` answers with; None when nobody answers (yet)."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority))
        if client is not None:
            context.load_cert_chain(*client)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:  # it is an open answer, too
            return error.code
    except OSError:
        return None


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago; who uses them must be ready to lose the race."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def lost_port(error: BaseException) -> bool:
    """Whether a server failed because its port, free when it was chosen, was taken before it could listen."""
    return isinstance(error, ClusterError) and "address already in use" in str(error).lower()


def listens(address: str, port: int) -> bool:
    """Whether someone accepts connections there."""
    with socket.socket() as attempt:
        attempt.settimeout(1.0)
        return attempt.connect_ex((address, port)) == 0
