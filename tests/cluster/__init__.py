"""Real clusters for tests: a whole Kubernetes where no Docker is, or just its API server in seconds.

See README.md in this folder for what to call.
"""

from __future__ import annotations

from .binaries import binary, build_binaries
from .control_plane import ControlPlane
from .errors import ClusterError, NotSupportedError
from .s3 import S3Server

__all__ = [
    "ClusterError",
    "ControlPlane",
    "NotSupportedError",
    "S3Server",
    "binary",
    "build_binaries",
]
