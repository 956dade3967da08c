"""Where the API server is and who we are there: the pod's ServiceAccount, else KUBECONFIG.

Both halves of the operator, its own client and kopf's watches, take their address and credentials from here, so they
can't come to talk to different clusters or as different users.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from waypost_operator.runtime.errors import ConfigurationError

NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def configuration() -> Configuration:
    """How to reach the API server; raises ConfigurationError, naming what was looked for."""
    found = Configuration()
    kubeconfig = os.environ.get("KUBECONFIG", "")
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and NAMESPACE_FILE.exists():
            load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]  # the library's gap
        elif kubeconfig:
            await load_kube_config(config_file=kubeconfig, client_configuration=found, persist_config=False)  # type: ignore[no-untyped-call]
        else:
            raise ConfigurationError(
                "no cluster to work for: this is no pod with a ServiceAccount token (KUBERNETES_SERVICE_HOST and "
                f"{NAMESPACE_FILE.parent}), and KUBECONFIG is not set; set KUBECONFIG to a kubeconfig file"
            )
    except (ConfigException, OSError) as error:
        where = f"KUBECONFIG={kubeconfig}" if kubeconfig else "the pod's ServiceAccount"
        raise ConfigurationError(
            f"the cluster's address and credentials can't be read from {where}: {error}"
        ) from error
    return found


def own_namespace() -> str | None:
    """The namespace of the pod this process runs in; None outside of a cluster."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
