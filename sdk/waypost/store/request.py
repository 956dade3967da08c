"""What the caller of `Checkpoints` asked for: which store, as which writer if any, which part of a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterable

from waypost.attempt import MAX_ATTEMPT, Contract
from waypost.backends.opening import OBJECT_STORES
from waypost.contract import ENV_CHECKPOINT_DST, ENV_UPLOADER
from waypost.errors import ConfigurationError
from waypost.store import tree
from waypost.store.group import Group, launched, launched_rank
from waypost.store.manifest import Manifest
from waypost.store.start import Writer

Select = str | bytes | os.PathLike[str] | Iterable[str | bytes | os.PathLike[str]]


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


def chosen_group(group: Group | str | None, uri: str) -> Group | None:
    """The group to write in: the one given, that of the launcher if it is "launched", None to write alone.

    Raises ConfigurationError for a rank above 0 that is to write alone: the ranks would cut each other off.
    """
    if isinstance(group, Group):
        return group
    if group == "launched":
        return launched(os.environ)
    if group is not None:
        raise ConfigurationError(f"Checkpoints(group={group!r}): a group is a waypost.Group, 'launched', or None")
    if (rank := launched_rank(os.environ)) > 0:
        raise ConfigurationError(
            f"can't open {uri} for writing as rank {rank} alone: its ranks would cut each other off. Save from rank "
            "0 alone, or open it in every rank with Checkpoints(group='launched'), and they save together"
        )
    return None


def uploads_elsewhere(uploader: str | None, uri: str, *, opened_by_uri: bool) -> bool:
    """Whether a process beside this one uploads: if asked for, by argument or environment, else where it can.

    It can where URI and environment are all that a store is opened by. What fsspec reaches isn't: the program may have
    configured it by code. Raises ConfigurationError.
    """
    told = os.environ.get(ENV_UPLOADER) or None
    for name, value in ((f"Checkpoints(uploader={uploader!r})", uploader), (f"{ENV_UPLOADER}={told}", told)):
        if value not in (None, "process", "thread"):
            raise ConfigurationError(f"{name}: an uploader is 'process' or 'thread'")
    scheme = uri.partition("://")[0]
    if scheme == "memory":
        return False
    if (wanted := uploader or told) is not None:
        return wanted == "process" and (opened_by_uri or uploader is not None)
    return opened_by_uri and (scheme == "file" or scheme in OBJECT_STORES)


def selection(select: Select) -> frozenset[bytes]:
    """The relative paths that were asked for. Raises ConfigurationError."""
    given = [select] if isinstance(select, (str, bytes, os.PathLike)) else list(select)
    paths = frozenset(os.fsencode(path).rstrip(b"/") for path in given)
    if not paths:
        raise ConfigurationError("restore(select=...) names nothing; leave it out to restore everything")
    for path in paths:
        if (problem := tree.path_problem(path)) is not None:
            raise ConfigurationError(
                f"restore(select=...): {tree.show(path)!r} {problem}; give paths as they stand in the checkpoint"
            )
    return paths


def part_of(manifest: Manifest, paths: frozenset[bytes], label: str) -> Manifest:
    """These paths of a checkpoint, and what is below them. Raises ConfigurationError for one that it doesn't have."""
    try:
        return manifest.part(paths)
    except KeyError as error:
        top = sorted({node.path.partition(b"/")[0] for node in manifest.nodes})
        has = ", ".join(tree.show(name) for name in top[:20]) + (", ..." if len(top) > 20 else "")
        raise ConfigurationError(
            f"restore(select=...): checkpoint {label} has no {tree.show(error.args[0])!r}; it has: {has or 'nothing'}"
        ) from None
