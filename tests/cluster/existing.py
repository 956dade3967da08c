"""A cluster that is there already, named by its kubeconfig.

The kubeconfig is always an explicit file: the current context of whoever runs the tests is never used, since
the tests create and delete things.
"""

from __future__ import annotations

from pathlib import Path

from .errors import ClusterError, NotSupportedError
from .provider import Cluster


class ExistingCluster(Cluster):
    """Somebody else's cluster: it is neither started nor ended."""

    def __init__(self, name: str, kubeconfig: Path | None) -> None:
        super().__init__(name)
        if kubeconfig is None:
            raise ClusterError("the existing provider needs a kubeconfig file named explicitly (--kubeconfig)")
        if not kubeconfig.is_file():
            raise ClusterError(f"there is no kubeconfig {kubeconfig}")
        self._kubeconfig = kubeconfig.resolve()

    @property
    def kubeconfig(self) -> Path:
        """The file that was named."""
        return self._kubeconfig

    def up(self) -> None:
        """Make sure that it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.kubectl("version")

    def down(self) -> None:
        """Leave it as it is: it is not ours."""

    def load_image(self, archive: Path, name: str | None = None) -> None:
        """Not supported: its nodes pull from a registry, which only its owner can fill."""
        raise NotSupportedError(
            f"{archive.name} can't be loaded into an existing cluster: push {name or 'the image'} to a registry "
            "that its nodes can pull from, and name that image to the tests"
        )

    def status(self) -> str:
        """Its version and nodes, as kubectl says."""
        return f"{self.kubectl('version')}\n{self.kubectl('get', 'nodes', '-o', 'wide')}"
