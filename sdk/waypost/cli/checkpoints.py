"""`waypost checkpoints …`: looking into a store, getting something out of it, and saying what stays.

None of it takes the store over: what is added to its log needs no fence, so a running task is not disturbed.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import click

from waypost.backends.opening import open_backend
from waypost.checkpoints import CheckpointInfo, Checkpoints
from waypost.cli.bar import progress_bar
from waypost.contract import EXIT_CORRUPT
from waypost.errors import ConfigurationError
from waypost.log import say
from waypost.store.calls import Calls
from waypost.store.deleting import delete_store
from waypost.store.entries import Origin
from waypost.store.retention import KeepBest, KeepEvery, Retention
from waypost.store.seams import Seams

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def checkpoints() -> None:
    """Look into a checkpoint store, get checkpoints out of it, and say what is kept."""


@checkpoints.command("ls")
@click.argument("uri")
@as_json
def list_checkpoints(uri: str, as_json: bool) -> None:
    """List the checkpoints in the store URI, newest first."""
    with Checkpoints(uri, attempt=None) as store:
        found, completed, highest, pinned = store.list(), store.completed, store.highest_attempt, store.pinned
    if as_json:
        listed = [{**_described(info), "pinned": info.sequence in pinned} for info in found]
        click.echo(json.dumps({"checkpoints": listed, "completed": completed, "highestAttempt": highest}, indent=2))
        return
    if found:
        click.echo(_row("sequence", "step", "attempt", "bytes", "created", ""))
    for info in found:
        step = "-" if info.step is None else str(info.step)
        created = info.created.isoformat(timespec="seconds")
        mark = "  pinned" if info.sequence in pinned else ""
        click.echo(_row(str(info.sequence), step, str(info.attempt), str(info.size_bytes), created, mark))
    state = "completed" if completed else "not completed"
    click.echo(f"{len(found)} live, {state}, highest attempt {highest}")


@checkpoints.command()
@click.argument("uri")
@click.argument("sequence", type=int, required=False)
def show(uri: str, sequence: int | None) -> None:
    """Show one checkpoint of the store URI as JSON: the newest, or the one with the number SEQUENCE."""
    with Checkpoints(uri, attempt=None) as store:
        info = store.latest() if sequence is None else _find(store, sequence)
    click.echo(json.dumps(_described(info), indent=2) if info is not None else "null")


@checkpoints.command()
@click.argument("uri")
@click.argument("folder", type=click.Path(file_okay=False))
@click.argument("sequence", type=int, required=False)
@click.option("--replace", is_flag=True, help="Replace whatever FOLDER holds.")
def pull(uri: str, folder: str, sequence: int | None, replace: bool) -> None:
    """Restore a checkpoint of the store URI to FOLDER: the newest, or the one with the number SEQUENCE."""
    with Checkpoints(uri, attempt=None) as store, progress_bar():
        info = store.restore(folder, sequence, replace=replace)
    if info is None:
        raise ConfigurationError(f"nothing is saved in {uri} yet")
    click.echo(f"checkpoint {info.sequence} is in {folder}")


@checkpoints.command()
@click.argument("uri")
@click.argument("sequence", type=int, required=False)
@as_json
def verify(uri: str, sequence: int | None, as_json: bool) -> None:
    """Read all of the store URI, or the checkpoint SEQUENCE, and report what is missing or damaged: exit 65 then."""
    with Checkpoints(uri, attempt=None) as store:
        report = store.verify(sequence)
    if as_json:
        problems = [{"sequence": one.sequence, "what": one.what, "advice": one.advice} for one in report.problems]
        click.echo(json.dumps({"entries": report.entries, "whole": report.checkpoints, "problems": problems}, indent=2))
    else:
        for one in report.problems:
            click.echo(f"{one.what}; {one.advice}")
        click.echo(
            f"{report.entries} log entries read, {len(report.checkpoints)} checkpoints whole, "
            f"{len(report.problems)} problems"
        )
    if not report.ok:
        sys.exit(EXIT_CORRUPT)


@checkpoints.command()
@click.argument("uri")
@click.argument("sequence", type=int)
def pin(uri: str, sequence: int) -> None:
    """Never prune the checkpoint SEQUENCE of the store URI."""
    with Checkpoints(uri, attempt=None) as store:
        store.pin(sequence)
    click.echo(f"checkpoint {sequence} is pinned")


@checkpoints.command()
@click.argument("uri")
@click.argument("sequence", type=int)
def unpin(uri: str, sequence: int) -> None:
    """Let the checkpoint SEQUENCE of the store URI be pruned again."""
    with Checkpoints(uri, attempt=None) as store:
        store.unpin(sequence)
    click.echo(f"checkpoint {sequence} is not pinned")


@checkpoints.command()
@click.argument("uri")
@click.option("--keep-last", type=int, required=True, metavar="N", help="Keep the newest N.")
@click.option("--keep-every-steps", type=int, metavar="N", help="Keep the oldest of every N steps as well.")
@click.option("--keep-every-seconds", type=int, metavar="N", help="Keep the oldest of every N seconds as well.")
@click.option("--keep-best", metavar="METRIC:MODE[:COUNT]", help="Keep the best as well: loss:min, accuracy:max:2.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@as_json
def prune(
    uri: str,
    keep_last: int,
    keep_every_steps: int | None,
    keep_every_seconds: int | None,
    keep_best: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Prune the store URI once, and delete what was pruned. A running task is not disturbed.

    The newest checkpoint, pinned ones and the one that the running attempt resumed from are always kept. The newest is
    read first, whole: if it is damaged, the count begins at the one that a restore would give.
    """
    every = None
    if keep_every_steps is not None or keep_every_seconds is not None:
        every = KeepEvery(steps=keep_every_steps, seconds=keep_every_seconds)
    retention = Retention(keep_last=keep_last, keep_every=every, keep_best=_best(keep_best))
    with Checkpoints(uri, attempt=None) as store:
        done = store.prune(retention, dry_run=dry_run)
    if as_json:
        record = {"pruned": done.sequences, "kept": done.kept, "deleted": done.deleted, "dryRun": dry_run}
        click.echo(json.dumps(record, indent=2))
        return
    numbers = ", ".join(map(str, done.sequences)) or "nothing"
    click.echo(
        f"{'would prune' if dry_run else 'pruned'} {numbers}; kept {', '.join(map(str, done.kept)) or 'nothing'}"
    )
    if done.sequences and not done.deleted and not dry_run:
        say("a checkpoint that is kept can't be read, so nothing was deleted: `waypost checkpoints verify` says which")


@checkpoints.command()
@click.argument("uri")
@click.option("--yes", is_flag=True, help="Really delete everything.")
@click.option("--missing-ok", is_flag=True, help="Succeed if there is no store.")
def delete(uri: str, yes: bool, missing_ok: bool) -> None:
    """Delete the store URI with all its checkpoints, for good. Safe to repeat; whoever still writes to it is told.

    A few hundred bytes stay, so that a writer that was cut off can't bring it back to life.
    """
    if not yes:
        raise click.UsageError(f"this deletes every checkpoint in {uri}, for good; give --yes if that is meant")
    backend = open_backend(uri)
    try:
        gone = delete_store(Calls(backend, Seams()))
    finally:
        backend.close()
    if gone is None:
        if missing_ok:
            click.echo(f"there is no checkpoint store at {backend.uri}, so nothing was deleted")
            return
        raise ConfigurationError(f"there is no checkpoint store at {backend.uri}")
    click.echo(f"deleted {backend.uri}: {gone.packs} packs and manifests, {gone.entries} log entries")


def _best(text: str | None) -> KeepBest | None:
    if text is None:
        return None
    words = text.split(":")
    if len(words) not in (2, 3) or words[1] not in ("min", "max") or (words[2:] and not words[2].isdecimal()):
        raise click.UsageError(f"--keep-best {text}: it has to be METRIC:min or METRIC:max, with :COUNT if wanted")
    mode: Any = words[1]
    return KeepBest(metric=words[0], mode=mode, count=int(words[2]) if words[2:] else 1)


def _find(store: Checkpoints, sequence: int) -> CheckpointInfo:
    for info in store.list():
        if info.sequence == sequence:
            return info
    raise ConfigurationError(f"no live checkpoint {sequence} in {store.uri}; `waypost checkpoints ls` lists them")


def _described(info: CheckpointInfo) -> dict[str, object]:
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


def _row(sequence: str, step: str, attempt: str, size: str, created: str, mark: str) -> str:
    return f"{sequence:>10}{step:>10}{attempt:>9}{size:>14}  {created}{mark}"
