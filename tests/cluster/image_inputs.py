"""What goes into an image: which files of the context its Dockerfile copies, and a digest of everything.

Pure but for reading files, so that "nothing changed" is decided the same way everywhere, and a change to a
test does not rebuild the product's image.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath


def copied_paths(dockerfile: str, files: Iterable[str]) -> list[str]:
    """Those of `files` (relative to the context) that a COPY or ADD of the Dockerfile reaches."""
    sources: list[PurePosixPath] = []
    joined = re.sub(r"\\\n", " ", dockerfile)
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        if not words or words[0].upper() not in ("COPY", "ADD"):
            continue
        options = [word for word in words[1:] if word.startswith("--")]
        if any(option.startswith("--from=") for option in options):
            continue
        sources += [PurePosixPath(word.lstrip("/")) for word in words[1 + len(options) : -1]]
    return sorted(file for file in files if any(_reaches(source, PurePosixPath(file)) for source in sources))


def locked_requirements(dockerfile: str) -> list[str]:
    """The requirement files that pip installs in a build which takes its configuration as a secret."""
    if not re.search(r"--mount=type=secret,id=pip\.conf\b", dockerfile):
        return []
    return re.findall(r"\s(?:-r|--requirement)[ =](\S+)", dockerfile)


def tracked_files(context: Path) -> list[str]:
    """Files of the folder that git does not ignore, new ones included; all files where git knows nothing."""
    command = ["git", "-C", str(context), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is not None:
        listing = subprocess.run(command, capture_output=True, text=True).stdout
        names = [name for name in listing.split("\0") if name]
    else:
        names = []
    if names:
        return sorted(name for name in set(names) if (context / name).is_file())
    return sorted(str(path.relative_to(context)) for path in context.rglob("*") if path.is_file())


def digest(words: Sequence[str], context: Path, files: Sequence[str]) -> str:
    """Sixteen hexadecimal digits that change with any of the words, file names, modes or contents."""
    total = hashlib.sha256()
    for word in words:
        total.update(f"{len(word)}:{word}".encode())
    for file in files:
        path = context / file
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{file}:{path.stat().st_mode & 0o111}:{content}\n".encode())
    return total.hexdigest()[:16]


def _reaches(source: PurePosixPath, file: PurePosixPath) -> bool:
    if source == PurePosixPath("."):
        return True
    depth = len(source.parts)
    return PurePosixPath(*file.parts[:depth]).match(str(source)) and len(file.parts) >= depth
