"""Which group a launcher has put a process into, from the variables that each launcher documents."""

from __future__ import annotations

import pytest

from waypost.errors import ConfigurationError
from waypost.store.group import Group, launched, launched_rank

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "3",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "2",
}


@pytest.mark.parametrize(
    ("env", "group"),
    [
        ({}, None),
        ({"RANK": "0"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"WORLD_SIZE": "8"}, None),
        (TORCHRUN, Group("torchrun/none/2", 3, 4)),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}, Group("torchrun/none", 3, 4)),
        ({"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, Group("torch/a:1", 1, 2)),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": "prterun-a-12@1"},
            Group("mpirun/prterun-a-12@1", 1, 2),
        ),
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1"},
            Group("srun/7/1/0", 0, 2),
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}, None),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", **TORCHRUN}, Group("torchrun/none/2", 3, 4)),
        (
            {"WAYPOST_GROUP": "mine", "WAYPOST_RANK": "0", "WAYPOST_WORLD_SIZE": "2", **TORCHRUN},
            Group("mine", 0, 2),
        ),
        ({"WAYPOST_RANK": "0", "WAYPOST_WORLD_SIZE": "1", **TORCHRUN, "RANK": "0"}, None),
    ],
)
def test_a_launchers_ranks_are_a_group_as_soon_as_there_are_two(env: dict[str, str], group: Group | None) -> None:
    assert launched(env) == group


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"RANK": "3"}, "WORLD_SIZE isn't set"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "two", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "WORLD_SIZE is 'two'"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "rank 2 of 2"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "MASTER_ADDR isn't set"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "WAYPOST_GROUP isn't set"),
        ({"WAYPOST_GROUP": "mine"}, "WAYPOST_RANK isn't set"),
        ({"WAYPOST_RANK": "1", "WAYPOST_WORLD_SIZE": "2"}, "WAYPOST_GROUP isn't set"),
    ],
)
def test_a_group_that_can_not_be_meant_names_the_variable(env: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        launched(env)


@pytest.mark.parametrize(("token", "rank", "size"), [("", 0, 2), ("x" * 513, 0, 2), ("a", 0, 1), ("a", -1, 2)])
def test_a_group_by_hand_is_checked_too(token: str, rank: int, size: int) -> None:
    with pytest.raises(ConfigurationError):
        Group(token, rank, size)


def test_the_rank_alone_needs_no_more_than_its_variable() -> None:
    assert [launched_rank({}), launched_rank({"RANK": "3"})] == [0, 3]
