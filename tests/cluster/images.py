"""Container images without a container engine: buildah, on a base made by debootstrap.

A registry may be out of reach, a Debian mirror is not. The base image is Debian bookworm with Python 3.11,
which stands in for `python:3.11-slim-bookworm`; every Dockerfile here takes it as `ARG BASE`, so that plain
`docker build .` uses the real one.

Python packages reach a build as a wheelhouse: pip on the host, however it is configured (mirror, proxy,
certificates, local wheels), downloads the wheels that the Dockerfile's lock files name; the build gets that
folder, and as the secret `pip.conf` a configuration that points to it. So nothing of the host's configuration
can end in an image, a build needs no network, and only the first one waits for downloads. Under plain
`docker build` there is no such secret, and pip asks its index as usual.

buildah has its own storage in the cache folder (driver vfs, chroot isolation: both work where overlay mounts
and namespaces do not, and leave no mount behind). Archives are kept by a digest of all that went into them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .binaries import binary
from .cache import cache_dir, locked
from .errors import ClusterError
from .image_inputs import copied_paths, digest, locked_requirements, tracked_files
from .packages import require_packages
from .progress import LongStep

BASE_IMAGE = "localhost/waypost/base:bookworm-1"  # raise the number when what it contains changes
BASE_PYTHON = "3.11"
_BASE_INCLUDES = ("python3", "python3-venv", "ca-certificates")
_BASE_SUPERFLUOUS = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/lib/apt/lists",
    "var/cache/apt",
)
PAUSE_IMAGE = "localhost/waypost/pause:1"
S3_IMAGE = "localhost/waypost/s3:1"
_KEPT_ARCHIVES = 3  # of one image
_WHEELS_IN_BUILD = "/wheelhouse"


def build_image(
    dockerfile: Path,
    context: Path,
    name: str,
    build_args: Mapping[str, str] | None = None,
) -> Path:
    """Build `name` and return its OCI archive; at once when nothing it is made of has changed.

    Only files of `context` that the Dockerfile copies and git does not ignore take part. A Dockerfile that
    mounts the secret `pip.conf` gets the wheels of every file that its pip installs with `-r`.
    """
    text = dockerfile.read_text()
    base = ["BASE"] if re.search(r"^ARG BASE\b", text, re.MULTILINE) else []
    arguments = {**dict.fromkeys(base, BASE_IMAGE), **(build_args or {})}
    files = copied_paths(text, tracked_files(context))
    locks = [context / lock for lock in locked_requirements(text)]
    wheels = wheelhouse(locks) if locks else None
    inputs = [name, text, *(f"{key}={value}" for key, value in sorted(arguments.items()))]
    archive = _archive(name, digest(inputs, context, files))
    if archive.exists():
        return archive
    with locked("buildah"):
        if archive.exists():  # another process built it while we waited
            return archive
        require_packages(("buildah",))
        if BASE_IMAGE in arguments.values():
            _ensure_base()
        with tempfile.TemporaryDirectory(dir=_folder("")) as staging, LongStep(f"building image {name}"):
            for file in files:
                target = Path(staging, "context", file)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(context / file, target)
            Path(staging, "context").mkdir(exist_ok=True)
            pip = _pip_options(Path(staging), wheels) if wheels else []
            options = [f"--build-arg={key}={value}" for key, value in arguments.items()]
            _buildah("bud", "--layers=false", *pip, *options, "-f", str(dockerfile), "-t", name, f"{staging}/context")
            _save(name, archive)
    return archive


def base_archive() -> Path:
    """The base image as an OCI archive; made by debootstrap the first time, which takes a minute or two."""
    archive = _archive(BASE_IMAGE, digest([BASE_IMAGE, *_BASE_INCLUDES], Path("/"), []))
    if archive.exists():
        return archive
    with locked("base-image"):
        if archive.exists():
            return archive
        require_packages(("debootstrap", "buildah"))
        with tempfile.TemporaryDirectory(dir=_folder("")) as staging, LongStep(f"building {BASE_IMAGE}"):
            root = Path(staging, "root")
            includes = f"--include={','.join(_BASE_INCLUDES)}"
            _run(["debootstrap", "--variant=minbase", includes, "bookworm", str(root), *debian_mirror()])
            for path in _BASE_SUPERFLUOUS:
                shutil.rmtree(root / path, ignore_errors=True)
                (root / path).mkdir(parents=True)
            container = _buildah("from", "scratch").strip()
            _buildah("add", "--quiet", container, str(root), "/")
            _buildah("config", "--env", "LANG=C.UTF-8", "--cmd", "python3", container)
            _buildah("commit", "--quiet", "--rm", container, BASE_IMAGE)
            _save(BASE_IMAGE, archive)
    return archive


def pause_archive() -> Path:
    """The image that holds a pod's network: a static busybox that sleeps."""
    sleep = '["/busybox", "sleep", "2147483647"]'
    return _from_scratch(PAUSE_IMAGE, [_busybox()], f"ENTRYPOINT {sleep}\n")


def s3_archive() -> Path:
    """versitygw, and a busybox to make its folders with."""
    return _from_scratch(S3_IMAGE, [_busybox(), binary("versitygw")], 'ENTRYPOINT ["/versitygw"]\n')


def wheelhouse(locks: Sequence[Path]) -> Path:
    """A folder with the wheels that the lock files name, for the base image's Python."""
    content = [BASE_PYTHON, *(lock.read_text() for lock in locks)]
    folder = _folder("wheels") / digest(content, Path("/"), [])
    with locked("wheels"):
        if folder.exists():
            return folder
        with tempfile.TemporaryDirectory(dir=_folder("wheels")) as staging, LongStep("downloading wheels"):
            machine = os.uname().machine
            platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 28, 34)]
            platforms.append(f"--platform=manylinux2014_{machine}")
            options = ["--only-binary=:all:", f"--python-version={BASE_PYTHON}", "--implementation=cp"]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", f"{staging}/wheels"]
            for lock in locks:
                _run([*pip, *options, *platforms, "-r", str(lock)])
            Path(staging, "wheels").rename(folder)
    return folder


def debian_mirror() -> list[str]:
    """The mirror this system's own apt uses for Debian, as debootstrap's argument; none leaves it its default."""
    if not (listing := _apt_targets()):
        _run(["apt-get", "update"])
        listing = _apt_targets()
    return [site for site, label in listing if label == "Debian"][:1]


def _apt_targets() -> list[tuple[str, str]]:
    """Site and label of every package list that apt has downloaded."""
    lines = _run(["apt-get", "indextargets", "--format", "$(SITE)\t$(LABEL)"]).splitlines()
    return [(site, label) for site, _, label in (line.partition("\t") for line in lines)]


def _from_scratch(name: str, programs: Sequence[Path], instructions: str) -> Path:
    with tempfile.TemporaryDirectory(dir=_folder("")) as staging:
        for program in programs:
            shutil.copy(program, Path(staging, program.name))
        copies = "".join(f"COPY {program.name} /{program.name}\n" for program in programs)
        dockerfile = Path(staging, "Dockerfile")
        dockerfile.write_text(f"FROM scratch\n{copies}{instructions}")
        return build_image(dockerfile, Path(staging), name)


def _busybox() -> Path:
    require_packages(("busybox-static",))
    return Path("/bin/busybox")


def _ensure_base() -> None:
    archive = base_archive()
    if not _buildah("images", "--quiet", "--filter", f"reference={BASE_IMAGE}").strip():
        _buildah("pull", "--quiet", f"oci-archive:{archive}")


def _pip_options(staging: Path, wheels: Path) -> list[str]:
    config = staging / "pip.conf"
    config.write_text(f"[global]\nno-index = true\nfind-links = {_WHEELS_IN_BUILD}\n")
    return [f"--volume={wheels}:{_WHEELS_IN_BUILD}:ro", f"--secret=id=pip.conf,src={config}"]


def _save(name: str, archive: Path) -> None:
    partial = archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    _buildah("push", "--quiet", name, f"oci-archive:{partial}:{name}")
    partial.rename(archive)
    _buildah("rmi", "--prune")
    older = sorted(archive.parent.glob(f"{archive.stem.rpartition('-')[0]}-*.tar"), key=os.path.getmtime)
    for path in older[:-_KEPT_ARCHIVES]:
        path.unlink()


def _archive(name: str, inputs_digest: str) -> Path:
    return _folder("images") / f"{re.sub(r'[^a-z0-9.]+', '_', name)}-{inputs_digest}.tar"


def _folder(name: str) -> Path:
    folder = cache_dir() / "images-work" if not name else cache_dir() / name
    folder.mkdir(exist_ok=True)
    return folder


def _buildah(*arguments: str) -> str:
    storage = cache_dir() / "buildah"
    places = [f"--root={storage / 'root'}", f"--runroot={storage / 'run'}", "--storage-driver=vfs"]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    return _run(["buildah", *places, *arguments], environment)


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result.stdout
