"""A store may have been written by anybody: each wrong gives its stated error, memory stays bounded, nothing outside is
touched. The cases stand in `corpus.py`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.hostile.corpus import CASES, Store, good
from tests.unit.store.test_folders import fingerprint

pytestmark = pytest.mark.deep

VICTIM = Path(__file__).with_name("victim.py")
ALLOWED_MIB = 250
"""For the interpreter, a pack or a manifest of 20 MB, and what is parsed of it."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process got from each store of the corpus, and whether anything outside had changed afterwards."""
    base = tmp_path_factory.mktemp("hostile")
    pristine = good(base / "pristine").folder
    folders = {}
    for number, (name, (spoil, _)) in enumerate(CASES.items()):
        folder = folders[name] = base / f"{number}"
        (folder / "outside" / "folder").mkdir(parents=True)
        (folder / "outside" / "canary").write_text("alive")
        (folder / "outside" / "folder" / "canary").write_text("alive")
        (folder / "place").mkdir()
        shutil.copytree(pristine, folder / "store")
        spoil(Store(folder / "store"))
    before = {name: fingerprint(folder / "outside") for name, folder in folders.items()}
    around = set(os.listdir(base))
    done = subprocess.run(
        [sys.executable, str(VICTIM), *map(str, folders.values())],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=base / "0" / "place",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"died after {len(lines)} stores: {done.stderr[-3000:]}"
    assert set(os.listdir(base)) == around
    found = {}
    for name, line in zip(folders, lines, strict=True):
        harm = fingerprint(folders[name] / "outside") != before[name]
        beside = set(os.listdir(folders[name])) - {"outside", "place", "store"}
        leftovers = set(os.listdir(folders[name] / "place")) - {"read", "resumed"}
        found[name] = line | {"harm": harm, "beside": beside, "leftovers": leftovers}
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_gives_its_stated_answer_and_harms_nothing(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    expected = CASES[name][1]
    found = outcomes[name]
    assert found["got"] == list(expected if isinstance(expected, tuple) else (expected, expected))
    assert not found["harm"], "something outside of the folder was touched"
    assert (found["beside"], found["leftovers"]) == (set(), set())
    assert found["peak"] < ALLOWED_MIB
