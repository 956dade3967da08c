"""Addresses of objects, as this package's own clients use them: signed, and shown without that."""

from __future__ import annotations

import urllib.parse
import urllib.request
from urllib.parse import SplitResult

from waypost.backends.answers import meaning
from waypost.backends.protocol import BackendError


def is_proxied(address: SplitResult) -> bool:
    """Whether the environment tells that a proxy stands between."""
    proxies = urllib.request.getproxies()
    return bool(proxies.get(address.scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(address.netloc)


def shown(address: SplitResult) -> str:
    """The address for messages, without its signature."""
    return f"{address.scheme}://{address.netloc}{address.path}"


def broken(error: Exception, method: str, address: SplitResult, *, reading: bool = False) -> BackendError:
    """The error for a request whose connection failed."""
    return meaning(f"{str(error) or type(error).__name__} ({method} {shown(address)})", reading=reading)
