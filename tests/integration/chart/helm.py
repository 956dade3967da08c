"""Helm as these tests use it: held to one kubeconfig, with its own state, and typed results."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import binary
from tests.cluster.binaries import kubernetes_version

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/waypost"
RELEASE_NAMESPACE = "waypost-system"


class HelmError(Exception):
    """Helm ended with an error; the message is its stderr."""


@dataclass(frozen=True)
class Helm:
    """Helm with a folder of its own for caches; `kubeconfig` only where a cluster is talked to."""

    folder: Path
    kubeconfig: Path | None = None

    def template(self, values: dict[str, Any] | None = None, release: str = "waypost") -> list[dict[str, Any]]:
        """The objects of the chart with these values."""
        text = self("template", release, str(CHART), f"--kube-version={kubernetes_version()}", values=values)
        return [item for item in yaml.safe_load_all(text) if item]

    def install(self, values: dict[str, Any] | None = None, chart: Path = CHART, release: str = "waypost") -> str:
        """Install or upgrade, not waiting for pods (an API server alone runs none); the notes it prints."""
        return self("upgrade", "--install", "--create-namespace", release, str(chart), values=values)

    def uninstall(self, release: str = "waypost") -> str:
        return self("uninstall", release)

    def __call__(
        self, *arguments: str, values: dict[str, Any] | None = None, namespace: str = RELEASE_NAMESPACE
    ) -> str:
        command = [str(binary("helm")), *arguments, f"--namespace={namespace}"]
        if self.kubeconfig is not None:
            command.append(f"--kubeconfig={self.kubeconfig}")
        if values is not None:
            command.append("--values=-")
        places = {f"HELM_{kind}_HOME": str(self.folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        result = subprocess.run(
            command,
            input=None if values is None else json.dumps(values),
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, **places},
        )
        if result.returncode != 0:
            raise HelmError(result.stderr)
        return result.stdout
