"""The public surface is what the design fixes, whole, lazy, and the same for people and for type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import waypost

PUBLIC = {
    "AttemptRefusedError",
    "CheckpointInfo",
    "CheckpointPrunedError",
    "Checkpoints",
    "CompletedError",
    "ConfigurationError",
    "CorruptCheckpointError",
    "FencedError",
    "Group",
    "HostArray",
    "KeepBest",
    "KeepEvery",
    "RecoverableError",
    "RestoredState",
    "Retention",
    "StopRequested",
    "StorageError",
    "StoreDeletedError",
    "SupersededError",
    "WaypostError",
    "__version__",
    "current_context",
    "on_preemption",
    "preemption_requested",
    "task",
}


def test_the_public_names_are_exactly_these() -> None:
    assert set(waypost.__all__) == PUBLIC
    assert len(waypost.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(waypost, name) is not None
    assert name in dir(waypost)


def test_type_checkers_see_every_public_name() -> None:
    tree = ast.parse(Path(waypost.__file__).read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert PUBLIC - {"__version__"} <= imported


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'checkpoint'"):
        _ = waypost.checkpoint


@pytest.mark.parametrize(
    "first",
    ["import waypost.task", "import waypost.flyte", "import waypost.cli", "from waypost.task import TaskFunction"],
)
def test_waypost_task_is_the_decorator_whatever_was_imported_first(first: str) -> None:
    code = f"{first}\nimport waypost\nassert callable(waypost.task), waypost.task"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_contract_pulls_in_nothing_heavy() -> None:
    code = (
        "import sys, waypost.contract\n"
        "heavy = {'fsspec', 'click', 'blake3', 'obstore', 'waypost.checkpoints', 'multiprocessing', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
