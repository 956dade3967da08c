"""Kubeconfigs, and kubectl held to one of them.

Every kubeconfig here is a file named explicitly; the user's own (~/.kube/config, $KUBECONFIG) is never read,
so a test can't reach a cluster by accident.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .binaries import binary
from .errors import ClusterError


def with_certificate(path: Path, server: str, authority: Path, certificate: Path, key: Path) -> Path:
    """Write a kubeconfig that authenticates with a client certificate."""
    user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
    context = {"cluster": "waypost", "user": "waypost", "namespace": "default"}
    cluster = {"server": server, "certificate-authority-data": _encoded(authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "waypost", "cluster": cluster}],
        "users": [{"name": "waypost", "user": user}],
        "contexts": [{"name": "waypost", "context": context}],
        "current-context": "waypost",
    }
    return _save(path, config)


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster: `kubectl("get", "pods", "-A")` is what it prints."""

    kubeconfig: Path
    folder: Path  # for its cache of the API's kinds, and for kubeconfigs made from this one

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 120.0) -> str:
        """Run kubectl and return its stdout; raises ClusterError with its stderr when it fails."""
        # kubectl keys its cache by host and port, which the next control plane may get again.
        cache = self.folder / "kubectl-cache"
        command = [str(binary("kubectl")), f"--kubeconfig={self.kubeconfig}", f"--cache-dir={cache}"]
        try:
            result = subprocess.run(
                [*command, *arguments], input=stdin, capture_output=True, text=True, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"`kubectl {' '.join(arguments)}` gave no answer in {timeout_seconds:.0f} s") from error
        if result.returncode != 0:
            raise ClusterError(f"`kubectl {' '.join(arguments)}` failed: {result.stderr.strip()}")
        return result.stdout

    def json(self, *arguments: str) -> Any:
        """The answer of `kubectl ... -o json`, parsed."""
        return json.loads(self(*arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> str:
        """Create or change the given objects, in their order."""
        return self("apply", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in objects))

    def install_crd(self, manifest: Path, name: str, timeout_seconds: float = 60.0) -> None:
        """Apply the CustomResourceDefinition `name`, and return once the API server serves its kind.

        `kubectl wait --for=condition=Established` isn't enough: it fails when it comes before the API server's
        first word, as a new definition's `status.conditions` is null and not absent.
        """
        self("apply", "--server-side", "-f", str(manifest))
        self.established(name, timeout_seconds)

    def established(self, name: str, timeout_seconds: float = 60.0) -> None:
        """Return once the CustomResourceDefinition `name` is served; raises ClusterError with what was seen last."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            conditions = self.json("get", "crd", name).get("status", {}).get("conditions") or []
            if any(seen["type"] == "Established" and seen["status"] == "True" for seen in conditions):
                return
            if time.monotonic() >= deadline:
                raise ClusterError(f"{name} isn't served after {timeout_seconds:.0f} s: {json.dumps(conditions)}")
            time.sleep(0.2)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig that is the ServiceAccount `name`: what RBAC allows it can be tried with.

        The ServiceAccount must exist. The token comes from the TokenRequest API and lives for a day.
        """
        token = self("create", "token", name, "--namespace", namespace, "--duration=24h").strip()
        config = self.json("config", "view", "--raw", "--flatten", "--minify")
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = namespace
        return _save(self.folder / f"{namespace}-{name}.kubeconfig", config)


def _save(path: Path, config: dict[str, Any]) -> Path:
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))  # JSON is YAML
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
