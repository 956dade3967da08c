"""From a URI to its backend: the one place that knows which backends there are.

Object stores go through obstore (the extra `s3`), `file://` through our own code, everything else through fsspec.
A backend is imported when a URI asks for it.
"""

from __future__ import annotations

import os
import re
from typing import Final

from waypost.backends.protocol import Backend
from waypost.errors import ConfigurationError

OBJECT_STORES: Final = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_FORBIDDEN: Final = ("?", "#", "::")


def canonical_uri(uri: str) -> str:
    """The URI as messages and comparisons have it: a plain path as file://, no trailing slashes.

    Raises ConfigurationError for one that can't be meant.
    """
    if not uri:
        raise ConfigurationError("the checkpoint URI is empty; give one like s3://bucket/prefix or file:///folder")
    match = _SCHEME.fullmatch(uri)
    if match is None and ("://" in uri or "::" in uri):
        raise ConfigurationError(f"can't use the checkpoint URI {uri}: it is neither a URI nor a plain path")
    if match is None:
        return f"file://{os.path.abspath(uri)}"
    scheme, rest = match[1].lower(), match[2].rstrip("/")
    for mark in _FORBIDDEN:
        if mark in rest:
            raise ConfigurationError(f"can't use the checkpoint URI {uri}: {mark!r} has no place in it")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigurationError(
                f"can't use the checkpoint URI {uri}: file:// needs an absolute path (file:///...)"
            )
        return f"file://{os.path.normpath(rest)}"
    if "@" in rest.partition("/")[0] and scheme not in ("abfs", "abfss"):
        raise ConfigurationError(
            f"can't use the checkpoint URI of {scheme}://: it holds credentials or a user; give those by environment"
        )
    if not rest:
        raise ConfigurationError(f"can't use the checkpoint URI {uri}: it names no bucket or folder")
    if scheme in OBJECT_STORES and (odd := {"", ".", ".."}.intersection(rest.split("/")[1:])):
        raise ConfigurationError(
            f"can't use the checkpoint URI {uri}: with {min(odd)!r} as a part of its path it names another "
            "place to some clients and servers than to others; leave it out"
        )
    return f"{scheme}://{rest}"


def open_backend(uri: str) -> Backend:
    """The backend of a store; makes no request. Raises ConfigurationError for a scheme that nobody knows."""
    uri = canonical_uri(uri)
    scheme = uri.partition("://")[0]
    if scheme == "file":
        from waypost.backends.file import FileBackend

        return FileBackend(uri)
    if scheme in OBJECT_STORES:
        from waypost.backends.objectstore import ObjectStoreBackend

        return ObjectStoreBackend(uri)
    from waypost.backends.through_fsspec import FsspecBackend, known_schemes

    if scheme not in known_schemes():
        known = ", ".join(sorted({"file", *OBJECT_STORES, *known_schemes()}))
        raise ConfigurationError(
            f"can't use the checkpoint URI {uri}: nobody here knows the scheme {scheme!r}. Known are {known}"
        )
    return FsspecBackend(uri)
