"""Real clusters for tests: a whole Kubernetes where no Docker is, or just its API server in seconds.

See README.md in this folder for what to call.
"""

from __future__ import annotations

from .binaries import binary, build_binaries
from .ceph import CephServer
from .control_plane import ControlPlane
from .errors import ClusterError, NotSupportedError
from .images import BASE_IMAGE, base_archive, build_image
from .kubeconfig import Kubectl
from .provider import Cluster, provider
from .s3 import LaxS3Server, S3Server
from .s3_service import S3Service

__all__ = [
    "BASE_IMAGE",
    "CephServer",
    "Cluster",
    "ClusterError",
    "ControlPlane",
    "Kubectl",
    "LaxS3Server",
    "NotSupportedError",
    "S3Server",
    "S3Service",
    "base_archive",
    "binary",
    "build_binaries",
    "build_image",
    "provider",
]
