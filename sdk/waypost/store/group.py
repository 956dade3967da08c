"""Which execution of several ranks this process belongs to, read from what its launcher put into the environment.

A group is one execution of all ranks: they save together, and one checkpoint holds a part of each. The token names
the execution, so that a rank finds the FENCE that its own rank 0 put. It has to be the same in all ranks; that it
differs from earlier executions is wished for and not relied upon, because launchers don't promise it (torchrun counts
no restart when only its members change): a rank also needs the seat that no earlier process has taken (`joining`).

Where it is asked for, a launcher's ranks are a group as soon as there are two of them. Pure: a function of a mapping.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

from waypost.contract import ENV_GROUP, ENV_RANK, ENV_WORLD_SIZE
from waypost.errors import ConfigurationError

MAX_RANKS: Final = 100_000
MAX_TOKEN: Final = 512


@dataclasses.dataclass(frozen=True)
class Group:
    """One process among the ranks of one execution; raises ConfigurationError for what can't be meant."""

    token: str
    """Names this execution: the same text in all ranks, another one in the next execution."""
    rank: int
    """From 0 to size - 1; rank 0 takes the store over and commits."""
    size: int
    """How many ranks there are, at least 2."""

    def __post_init__(self) -> None:
        if not self.token or len(self.token) > MAX_TOKEN:
            raise ConfigurationError(f"a group's token has 1 to {MAX_TOKEN} characters, not {len(self.token)}")
        if not 2 <= self.size <= MAX_RANKS or not 0 <= self.rank < self.size:
            raise ConfigurationError(
                f"rank {self.rank} of {self.size}: a group has 2 ranks or more (a single process needs none), counted "
                "from 0"
            )

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} in the group {self.token!r}"


def launched(env: Mapping[str, str]) -> Group | None:
    """The group that a launcher has put this process into, None if it runs alone.

    Raises ConfigurationError naming the variable that is missing or can't be meant.
    """
    launcher = _launcher(env)
    if launcher is None:
        return None
    rank = _number(env, launcher.rank)
    if rank == 0 and env.get(launcher.size, "1") == "1":
        return None
    size = _number(env, launcher.size)
    return Group(launcher.token(env), rank, size)


def launched_rank(env: Mapping[str, str]) -> int:
    """The rank that a launcher has given to this process, 0 if it runs alone. Raises ConfigurationError."""
    launcher = _launcher(env)
    return 0 if launcher is None else _number(env, launcher.rank)


def standing(env: Mapping[str, str]) -> tuple[int, bool]:
    """The rank of this process, and whether it is one of several.

    For those who only watch: variables that can't be meant count as none, for whoever opens a store is told of them.
    """
    try:
        return launched_rank(env), launched(env) is not None
    except ConfigurationError:
        return 0, False


def _torch(env: Mapping[str, str]) -> str:
    run = env.get("TORCHELASTIC_RUN_ID")
    if run is None:  # whatever follows PyTorch's convention: init_method="env://"
        return f"torch/{_text(env, 'MASTER_ADDR')}:{_text(env, 'MASTER_PORT')}"
    # the agents of several nodes don't agree on the number of restarts; a single one's is known to all its ranks
    alone = env.get("LOCAL_WORLD_SIZE") == env.get("WORLD_SIZE")
    return f"torchrun/{run}" + (f"/{env.get('TORCHELASTIC_RESTART_COUNT', '0')}" if alone else "")


def _open_mpi(env: Mapping[str, str]) -> str:
    job = env.get("PMIX_NAMESPACE") or env.get("OMPI_MCA_ess_base_jobid") or _text(env, ENV_GROUP)
    return f"mpirun/{job}"


def _slurm(env: Mapping[str, str]) -> str:
    restarts = env.get("SLURM_RESTART_COUNT", "0")
    return f"srun/{_text(env, 'SLURM_JOB_ID')}/{_text(env, 'SLURM_STEP_ID')}/{restarts}"


@dataclasses.dataclass(frozen=True)
class _Launcher:
    """Where a launcher says what."""

    rank: str
    size: str
    token: Callable[[Mapping[str, str]], str]


_LAUNCHERS: Final = (
    _Launcher(ENV_RANK, ENV_WORLD_SIZE, lambda env: _text(env, ENV_GROUP)),
    _Launcher("RANK", "WORLD_SIZE", _torch),
    _Launcher("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", _open_mpi),
    # srun alone sets this size: in a batch script there is one process, whatever SLURM_NTASKS says
    _Launcher("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", _slurm),
)
"""The innermost launcher first: torchrun may run under srun, one on each node."""


def _launcher(env: Mapping[str, str]) -> _Launcher | None:
    for launcher in _LAUNCHERS:
        if launcher.token is _slurm and not env.get(launcher.size):
            continue
        if env.get(launcher.rank) or (launcher.rank == ENV_RANK and (env.get(ENV_WORLD_SIZE) or env.get(ENV_GROUP))):
            return launcher
    return None


def _number(env: Mapping[str, str], name: str) -> int:
    value = _text(env, name)
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    raise ConfigurationError(
        f"{name} is {value!r}: it has to be a whole number, as a launcher of several ranks sets it"
    )


def _text(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise ConfigurationError(
            f"{name} isn't set, though other variables say that a launcher has started this process as one of several "
            f"ranks. Set it, or name the group: {ENV_GROUP} (a text of this execution alone), {ENV_RANK} and "
            f"{ENV_WORLD_SIZE}"
        )
    return value
