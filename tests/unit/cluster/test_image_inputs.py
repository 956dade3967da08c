"""What makes an image be built again, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.image_inputs import copied_paths, digest, locked_requirements, tracked_files

FILES = ["README.md", "operator/a.py", "pyproject.toml", "sdk/waypost/b.py", "sdkish/c.py", "tests/d.py"]


@pytest.mark.parametrize(
    ("dockerfile", "copied"),
    [
        ("COPY sdk source/sdk", ["sdk/waypost/b.py"]),
        ("COPY sdk operator /source/", ["operator/a.py", "sdk/waypost/b.py"]),
        ("copy --chown=1:1 *.md \\\n  pyproject.toml ./", ["README.md", "pyproject.toml"]),
        ("ADD . /everything", FILES),
        ("COPY --from=build /opt /opt\n# COPY tests x\nRUN echo COPY tests x", []),
    ],
)
def test_only_files_that_the_dockerfile_copies_take_part(dockerfile: str, copied: list[str]) -> None:
    assert copied_paths(dockerfile, FILES) == copied


def test_a_changed_word_name_content_or_mode_changes_the_digest(tmp_path: Path) -> None:
    def now(*words: str) -> str:
        return digest(words, tmp_path, tracked_files(tmp_path))

    file = tmp_path / "a"
    file.write_text("1")
    seen = [now("x"), now("y"), now("x", ""), now("x ", "")]
    file.write_text("2")
    seen.append(now("x"))
    file.chmod(0o755)
    seen.append(now("x"))
    file.rename(tmp_path / "b")
    seen.append(now("x"))
    assert len(set(seen)) == len(seen)
    assert now("x") == seen[-1]


def test_a_build_that_takes_pips_configuration_as_a_secret_names_its_lock_files() -> None:
    pip = "pip install --require-hashes -r build.lock && pip install --requirement=run.lock"
    assert locked_requirements(f"RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \\\n {pip}") == [
        "build.lock",
        "run.lock",
    ]
    assert locked_requirements(f"RUN {pip}") == []
