"""`waypost checkpoints ls|show URI`: looking into a store, without touching it."""

from __future__ import annotations

import dataclasses
import json

import click

from waypost.checkpoints import CheckpointInfo, Checkpoints
from waypost.errors import ConfigurationError
from waypost.store.entries import Origin


@click.group()
def checkpoints() -> None:
    """Look into a checkpoint store, without touching it."""


@checkpoints.command("ls")
@click.argument("uri")
def list_checkpoints(uri: str) -> None:
    """List the checkpoints in the store URI, newest first."""
    with Checkpoints(uri, attempt=None) as store:
        found, completed, highest = store.list(), store.completed, store.highest_attempt
    if found:
        click.echo(_row("sequence", "step", "attempt", "bytes", "created"))
    for info in found:
        step = "-" if info.step is None else str(info.step)
        created = info.created.isoformat(timespec="seconds")
        click.echo(_row(str(info.sequence), step, str(info.attempt), str(info.size_bytes), created))
    state = "completed" if completed else "not completed"
    click.echo(f"{len(found)} live, {state}, highest attempt {highest}")


@checkpoints.command()
@click.argument("uri")
@click.argument("sequence", type=int, required=False)
def show(uri: str, sequence: int | None) -> None:
    """Show one checkpoint of the store URI as JSON: the newest, or the one with the number SEQUENCE."""
    with Checkpoints(uri, attempt=None) as store:
        info = store.latest() if sequence is None else _find(store, sequence)
    click.echo(json.dumps(_as_json(info), indent=2) if info is not None else "null")


def _find(store: Checkpoints, sequence: int) -> CheckpointInfo:
    for info in store.list():
        if info.sequence == sequence:
            return info
    raise ConfigurationError(f"no live checkpoint {sequence} in {store.uri}; `waypost checkpoints ls` lists them")


def _as_json(info: CheckpointInfo) -> dict[str, object]:
    return {
        "sequence": info.sequence,
        "step": info.step,
        "attempt": info.attempt,
        "created": info.created.isoformat(),
        "sizeBytes": info.size_bytes,
        "parent": dataclasses.asdict(info.parent) if isinstance(info.parent, Origin) else info.parent,
        "metrics": dict(info.metrics),
        "metadata": dict(info.metadata),
    }


def _row(sequence: str, step: str, attempt: str, size: str, created: str) -> str:
    return f"{sequence:>10}{step:>10}{attempt:>9}{size:>14}  {created}"
