"""What the caller of `Checkpoints` asked for: which store, and as which writer if any."""

from __future__ import annotations

import os

from waypost.attempt import MAX_ATTEMPT, Contract
from waypost.contract import ENV_CHECKPOINT_DST
from waypost.errors import ConfigurationError
from waypost.store.start import Writer


def chosen_uri(uri: str | os.PathLike[str] | None, told: Contract | None) -> str:
    """The URI that was given, else the contract's. Raises ConfigurationError without either."""
    if uri is not None:
        return os.fspath(uri)
    if told is None:
        raise ConfigurationError(
            f"Checkpoints() needs a URI: there is no {ENV_CHECKPOINT_DST} in the environment, as the operator and "
            "`waypost run` set it"
        )
    return told.destination


def chosen_writer(attempt: int | str | None, own: Contract | None, told: Contract | None) -> Writer | None:
    """The writer to be, None to only read.

    `attempt` is a number, None, or "contract": then it is that of `own`, the contract if it speaks of this very store;
    `told` is the contract whatever store it speaks of. Raises ConfigurationError.
    """
    if attempt is None:
        return None
    if attempt == "contract":
        return None if own is None else Writer(own.attempt, own.pod_uid)
    if not isinstance(attempt, int) or isinstance(attempt, bool) or not 1 <= attempt <= MAX_ATTEMPT:
        raise ConfigurationError(f"Checkpoints(attempt={attempt!r}): an attempt is a whole number from 1 on")
    return Writer(attempt, told.pod_uid if told is not None else None)


def refuse_ranks(uri: str) -> None:
    """Raise ConfigurationError in a process that a launcher has started as one of several, unless it is the first."""
    rank = os.environ.get("RANK", "0")
    if rank not in ("", "0"):
        raise ConfigurationError(
            f"can't open {uri} for writing as rank {rank} of a group: its ranks would cut each other off. Save from "
            "rank 0; checkpoints written by several ranks come with a later version of Waypost"
        )
