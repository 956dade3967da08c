"""How the witnesses reach an API server: what a kubeconfig says, as an aiohttp session.

Reading kubeconfigs is left to the Kubernetes client; nothing else of it is used, since a witness that shares the
operator's client would share its faults too.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_kube_config


@dataclass(frozen=True)
class Api:
    """Address and credentials of one API server."""

    server: str
    tls: ssl.SSLContext | None
    token: str | None

    @classmethod
    async def from_kubeconfig(cls, path: Path) -> Api:
        """Read the current context of a kubeconfig that is named explicitly."""
        configuration = Configuration()
        loading: Any = load_kube_config  # has no type annotations
        await loading(str(path), client_configuration=configuration, persist_config=False)
        tls = None
        if configuration.host.startswith("https"):
            tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
            if configuration.cert_file:
                tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        bearer = configuration.api_key.get("BearerToken")
        return cls(configuration.host, tls, bearer.removeprefix("Bearer ") if bearer else None)

    def session(self, *, decompress: bool = True) -> aiohttp.ClientSession:
        """A session with these credentials and without limits on time or connections; the caller closes it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connector = aiohttp.TCPConnector(ssl=self.tls if self.tls is not None else True, limit=0)
        return aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=decompress
        )
