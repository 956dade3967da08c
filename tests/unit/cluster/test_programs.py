"""Programs are pinned in one place, and packages that are missing are named."""

from __future__ import annotations

import pytest

from tests.cluster.binaries import PROGRAMS, build_binaries, required_version
from tests.cluster.errors import ClusterError
from tests.cluster.packages import missing_packages


@pytest.mark.parametrize(
    "go_mod",
    [
        "module m\n\nrequire example.org/a v1.2.3\n",
        "require (\n\texample.org/ab v9.9.9\n\texample.org/a v1.2.3 // x\n)\n",
    ],
)
def test_the_version_is_what_go_mod_requires(go_mod: str) -> None:
    assert required_version(go_mod, "example.org/a") == "1.2.3"


def test_a_module_without_a_version_is_an_error_that_names_it() -> None:
    with pytest.raises(ClusterError, match=r"example\.org/a"):
        required_version("module m\n", "example.org/a")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_pinned_and_has_a_place_named_by_its_version(name: str) -> None:
    program = PROGRAMS[name]
    assert program.path.parts[-2:] == (f"{name}-{program.version}", name)
    assert "{" not in program.linker_flags


def test_kubernetes_programs_know_their_version() -> None:
    program = PROGRAMS["kubelet"]
    assert f"-X k8s.io/component-base/version.gitVersion=v{program.version}" in program.linker_flags


def test_an_unknown_program_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ClusterError, match="kube-apiserver"):
        build_binaries(["kube-apisever"])


def test_only_packages_that_are_fully_installed_count() -> None:
    status = "iptables installed\nbuildah config-files\n"
    assert missing_packages(["iptables", "buildah", "debootstrap"], status) == ["buildah", "debootstrap"]
