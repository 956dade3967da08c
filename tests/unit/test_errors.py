"""Errors keep what they know on the way from a child process to its parent."""

from __future__ import annotations

import pickle

import pytest

from waypost import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.StorageError("put", "s3://bucket/x", "503 SlowDown", advice="try later", outcome="unknown"),
        errors.AttemptRefusedError("attempt 2 is over", 5),
        *(kind("why") for kind in (errors.FencedError, errors.CompletedError, errors.StoreDeletedError)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_left(error: errors.WaypostError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_every_error_of_the_tree_has_an_exit_code_of_the_contract_or_is_a_plain_failure() -> None:
    def below(kind: type[errors.WaypostError]) -> set[type[errors.WaypostError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    codes = {kind.__name__: kind.exit_code for kind in below(errors.WaypostError) if kind.__module__ == errors.__name__}
    assert {name: code for name, code in codes.items() if code != 1} == {
        "ConfigurationError": 65,
        "StorageError": 74,
        "FencedError": 75,
        "AttemptRefusedError": 75,
        "CompletedError": 0,
        "CorruptCheckpointError": 65,
        "StoreDeletedError": 65,
        "CheckpointPrunedError": 65,
    }
