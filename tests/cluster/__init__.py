"""Real clusters for tests: a whole Kubernetes where no Docker is, or just its API server in seconds.

See README.md in this folder for what to call.
"""

from __future__ import annotations

from .binaries import binary, build_binaries
from .errors import ClusterError, NotSupportedError

__all__ = ["ClusterError", "NotSupportedError", "binary", "build_binaries"]
