"""A definition counts as served when the API server says so, and not a moment sooner, nor with an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster import ClusterError, Kubectl, kubeconfig

CRD = "checkpointedtasks.waypost.dev"
ESTABLISHED = [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]


def answering(folder: Path, patch: pytest.MonkeyPatch, *answers: object) -> Kubectl:
    """A kubectl whose definition has each of these conditions in turn, the last for ever."""
    for number, conditions in enumerate(answers):
        (folder / f"{number}.json").write_text(json.dumps({"status": {"conditions": conditions}}))
    program = folder / "kubectl"
    program.write_text(
        f"""#!/bin/sh
cd {folder}
number=$(cat asked 2>/dev/null || echo 0)
[ -e $((number + 1)).json ] && echo $((number + 1)) > asked
cat $number.json
"""
    )
    program.chmod(0o755)
    patch.setattr(kubeconfig, "binary", lambda name: program)
    return Kubectl(folder / "config", folder)


def test_conditions_that_are_still_null_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unserved = [{"type": "Established", "status": "False"}]
    kubectl = answering(tmp_path, monkeypatch, None, unserved, ESTABLISHED)
    kubectl.established(CRD)
    assert (tmp_path / "asked").read_text() == "2\n"


def test_one_that_is_never_served_is_told_with_what_it_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [{"type": "NamesAccepted", "status": "False", "reason": "PluralConflict"}]
    with pytest.raises(ClusterError, match=r"isn't served after 0 s: .*PluralConflict"):
        answering(tmp_path, monkeypatch, refused).established(CRD, timeout_seconds=0.3)
