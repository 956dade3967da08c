"""The mutants keep up with the tree: each still applies, and each names tests that exist.

That every killer really goes red takes minutes and is what `make mutants` shows; this shows within seconds that a
change of the code has left a mutant behind.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.mutants.patch import Mutant, PatchError, all_mutants

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_it_applies_and_its_killers_exist(mutant: Mutant) -> None:
    done = subprocess.run(
        ["git", "apply", "--check", "--whitespace=nowarn", str(mutant.path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stderr}\nmake the same change in the code as it is now, and write it down anew"
    for killer in mutant.killers:
        file, _, test = killer.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), killer


def test_numbers_and_names_are_unique() -> None:
    names = [mutant.name.partition("-") for mutant in all_mutants()]
    assert len({number for number, _, _ in names}) == len(names)
    assert len({name for _, _, name in names}) == len(names)


def test_a_patch_that_names_no_promise_or_no_killer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "001-vague.patch"
    path.write_text("Promise: Durable.\nBreaks: something\n\n--- a/x\n+++ b/x\n")
    with pytest.raises(PatchError, match=r"001-vague\.patch: Killer is missing"):
        Mutant.read(path)
