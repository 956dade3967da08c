"""The programs of a test cluster, built from their published Go modules.

Where no container engine answers there are no ready images to pull, yet Go's module proxy has every program
of a Kubernetes cluster in source. Each folder under `programs/` is a Go module of our own that pins one of
them with go.mod and go.sum: Kubernetes and etcd can't be built by `go install` (their go.mod files have
replace lines), and one way for all is simpler than two. The version is written once, in that go.mod.

A program lands at `<cache>/bin/<name>-<version>/<name>`. Only what is missing is built. Go's own build cache
makes a second build of a neighbour cheap (kubelet after kube-apiserver: 24 s instead of six minutes).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_dir, locked
from .errors import ClusterError
from .packages import require_packages
from .progress import LongStep

_MODULES = Path(__file__).parent / "programs"
_KUBERNETES = "k8s.io/kubernetes"
_OLDEST_GO = 21  # 1.21


@dataclass(frozen=True)
class Program:
    """One program: which package of which pinned module it is, and how long its build usually takes."""

    name: str
    folder: str
    module: str
    package: str
    usual_seconds: int  # on two cores, built in the order of PROGRAMS
    stamps: tuple[str, ...] = ()  # variables the linker sets, the words of linker_flags in braces
    cgo: bool = False
    tags: str = ""
    debian: tuple[str, ...] = ()  # packages its build needs

    @property
    def version(self) -> str:
        """The version pinned in the module's go.mod, without the leading v."""
        return required_version((_MODULES / self.folder / "go.mod").read_text(), self.module)

    @property
    def path(self) -> Path:
        """Where the built program is (or will be)."""
        return cache_dir() / "bin" / f"{self.name}-{self.version}" / self.name

    @property
    def linker_flags(self) -> str:
        """Stripped, and stamped with its version as its own release build does."""
        major, minor = self.version.split(".")[:2]
        words = {"version": self.version, "major": major, "minor": minor}
        words["kubernetes_minor"] = kubernetes_version().split(".")[1]
        return " ".join(["-s", "-w", *(f"-X {stamp.format(**words)}" for stamp in self.stamps)])


def kubernetes_version() -> str:
    """The version of Kubernetes that everything here is built as, without the leading v."""
    return required_version((_MODULES / "kubernetes" / "go.mod").read_text(), _KUBERNETES)


def _kubernetes(name: str, usual_seconds: int) -> Program:
    stamps = tuple(
        f"k8s.io/{library}/version.{variable}"
        for library in ("component-base", "client-go/pkg")
        for variable in (
            "gitVersion=v{version}",
            "gitMajor={major}",
            "gitMinor={minor}",
            "gitTreeState=clean",
        )
    )
    return Program(name, "kubernetes", _KUBERNETES, f"{_KUBERNETES}/cmd/{name}", usual_seconds, stamps)


def _containerd(name: str, usual_seconds: int) -> Program:
    module = "github.com/containerd/containerd/v2"
    stamp = f"{module}/version.Version=v{{version}}"
    return Program(name, "containerd", module, f"{module}/cmd/{name}", usual_seconds, (stamp,))


# What the most people wait for comes first.
PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", 40),
        _kubernetes("kube-apiserver", 355),
        _kubernetes("kubectl", 30),
        Program(
            "versitygw",
            "versitygw",
            "github.com/versity/versitygw",
            "github.com/versity/versitygw/cmd/versitygw",
            60,
            ("main.Version=v{version}",),
        ),
        Program(
            "helm",
            "helm",
            "helm.sh/helm/v3",
            "helm.sh/helm/v3/cmd/helm",
            65,
            (
                "helm.sh/helm/v3/internal/version.version=v{version}",
                # What a chart's kubeVersion is held against without a cluster: Helm's default is 1.20.
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={kubernetes_minor}",
                "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={kubernetes_minor}",
            ),
        ),
        _kubernetes("kubelet", 25),
        _kubernetes("kube-controller-manager", 100),
        _kubernetes("kube-scheduler", 10),
        _kubernetes("kube-proxy", 15),
        _containerd("containerd", 60),
        _containerd("containerd-shim-runc-v2", 10),
        _containerd("ctr", 15),
        Program(
            "runc",
            "runc",
            "github.com/opencontainers/runc",
            "github.com/opencontainers/runc",
            15,
            cgo=True,
            tags="seccomp",
            debian=("libseccomp-dev", "pkg-config", "gcc", "libc6-dev"),
        ),
        Program("coredns", "coredns", "github.com/coredns/coredns", ".", 60),
    )
}

API_SERVER = ("etcd", "kube-apiserver", "kubectl")


def required_version(go_mod: str, module: str) -> str:
    """The version of `module` that a go.mod text requires, without the leading v."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ClusterError(f"the go.mod requires no version of {module}: add `require {module} vX.Y.Z`")
    return found.group(1)


def binary(name: str) -> Path:
    """Path of the program `name`, built first when it is missing (minutes for kube-apiserver)."""
    return build_binaries([name])[name]


def build_binaries(names: Iterable[str] | None = None) -> dict[str, Path]:
    """Paths of the named programs (all when None), built when missing, in the order of PROGRAMS."""
    wanted = set(PROGRAMS if names is None else names)
    unknown = wanted - PROGRAMS.keys()
    if unknown:
        raise ClusterError(f"unknown program {sorted(unknown)}: known are {list(PROGRAMS)}")
    programs = [program for program in PROGRAMS.values() if program.name in wanted]
    missing = [program for program in programs if not program.path.exists()]
    for number, program in enumerate(missing, start=1):
        _build(program, f"({number} of {len(missing)})")
    return {program.name: program.path for program in programs}


def _build(program: Program, place: str) -> None:
    with locked(f"build-{program.name}"):
        if program.path.exists():  # another process built it while we waited
            return
        go = go_command()
        if program.debian:
            require_packages(program.debian)
        program.path.parent.mkdir(parents=True, exist_ok=True)
        usual = _spoken(program.usual_seconds)
        title = f"building {program.name} {program.version} {place}, usually about {usual} on two cores"
        partial = program.path.with_name(f".{program.name}.partial")
        command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", program.linker_flags]
        command += ["-tags", program.tags] if program.tags else []
        command += ["-o", str(partial), program.package]
        environment = {**os.environ, "CGO_ENABLED": "1" if program.cgo else "0", "GOFLAGS": "-buildvcs=false"}
        with LongStep(title) as step, tempfile.TemporaryFile("w+") as output:
            build = subprocess.Popen(
                command, cwd=_MODULES / program.folder, env=environment, stdout=output, stderr=output
            )
            try:
                while _running(build):
                    step.tick()
            except BaseException:
                build.terminate()
                build.wait()
                raise
            if build.returncode != 0:
                output.seek(0)
                raise ClusterError(
                    f"{program.name} {program.version} could not be built in {_MODULES / program.folder} by\n"
                    f"  {' '.join(command)}\nGo says:\n{output.read()}"
                )
        partial.rename(program.path)


def _running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return True
    return False


def go_command() -> str:
    """The go command; since 1.21 it gets by itself the toolchain that a go.mod asks for."""
    go = shutil.which("go")
    version = go and subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout
    minor = re.match(r"go1\.(\d+)", version or "")
    if go is None or minor is None or int(minor.group(1)) < _OLDEST_GO:
        have = f"`go` on PATH is {version.strip()}" if version else "there is no `go` on PATH"
        raise ClusterError(f"building the cluster's programs needs Go 1.{_OLDEST_GO} or later: {have}")
    return go


def _spoken(seconds: int) -> str:
    return f"{seconds} s" if seconds < 90 else f"{round(seconds / 60)} minutes"
