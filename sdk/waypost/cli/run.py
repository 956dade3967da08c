"""`waypost run FILE:FUNCTION`: the command of a pod, and the local run of the same function."""

from __future__ import annotations

import sys
from typing import Final

import click

from waypost import attempt, stop
from waypost.checkpoints import Checkpoints
from waypost.contract import DEFAULT_KEEP_LAST, EXIT_COMPLETE
from waypost.errors import ConfigurationError
from waypost.local import summary, target
from waypost.local.budget import Why
from waypost.local.call import new_store
from waypost.local.children import CommandLauncher
from waypost.local.drill import Drill
from waypost.local.supervise import Run
from waypost.log import say
from waypost.store import start_point
from waypost.store.retention import MAX_COUNT, Retention

HELP_OPTIONS: Final = ("-h", "--help")


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("name", metavar="FILE:FUNCTION")
@click.argument("words", metavar="[--NAME VALUE]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--checkpoint", metavar="URI", help="Resume from this store, and save to it.  [default: a new one]")
@click.option(
    "--from",
    "from_",
    metavar="URI",
    help="Begin with a checkpoint of another store, URI or URI#NUMBER, while --checkpoint holds none.",
)
@click.option(
    "--preempt-every",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Drill: SIGTERM to each attempt after so many seconds of work, SIGKILL 15 seconds later.",
)
@click.option(
    "--keep-last",
    metavar="N",
    type=click.IntRange(0, MAX_COUNT),
    help=f"Keep the newest N checkpoints; 0 keeps all.  [default: {DEFAULT_KEEP_LAST}]",
)
@click.option("--kill", is_flag=True, help="With --preempt-every: SIGKILL at once.")
def run(
    name: str,
    words: tuple[str, ...],
    checkpoint: str | None,
    from_: str | None,
    preempt_every: float | None,
    keep_last: int | None,
    kill: bool,
) -> None:
    """Run a @waypost.task function: one attempt in a pod, else attempts until it completes.

    Each parameter of the function is an option: def train(n_steps: int) takes --n-steps 100. FILE:FUNCTION --help lists
    them.

    On a laptop every attempt is a process of its own, which resumes where the one before had saved. retries= of the
    decorator says how many may fail in a row without progress.
    """
    if name in HELP_OPTIONS:  # after a FILE:FUNCTION they are among its words, and show its parameters
        click.echo(click.get_current_context().get_help())
        return
    if attempt.Contract.from_env() is not None:
        if any(option is not None for option in (checkpoint, from_, preempt_every, keep_last)) or kill:
            raise ConfigurationError(
                "--checkpoint, --from, --preempt-every, --keep-last and --kill are for local runs; in a pod the task's "
                "spec says where checkpoints live and which are kept"
            )
        sys.exit(_run_attempt(name, words))
    if kill and preempt_every is None:
        raise click.UsageError("--kill is a way to preempt: give --preempt-every SECONDS as well")
    drill = Drill(preempt_every, kill) if preempt_every is not None else None
    keep = DEFAULT_KEEP_LAST if keep_last is None else keep_last
    sys.exit(_run_locally(name, words, checkpoint, from_, drill, Retention(keep_last=keep) if keep else None))


def _run_attempt(name: str, words: tuple[str, ...]) -> int:
    attempt.report()
    stop.install()  # before the program's own imports, which may take longer than a preempted pod has left
    task = target.load(name)
    try:
        positional, values = target.arguments(task, f"waypost run {name}", words)
    except click.UsageError as error:
        raise ConfigurationError(f"waypost run {name}: {error.format_message()}") from error
    from waypost.execution import run_entry

    return run_entry(task, positional, values)


def _run_locally(
    name: str,
    words: tuple[str, ...],
    checkpoint: str | None,
    starts_from: str | None,
    drill: Drill | None,
    retention: Retention | None,
) -> int:
    task = target.load(name)
    target.arguments(task, f"waypost run {name}", words)  # a wrong argument is told at once, not by every attempt
    if starts_from is not None:
        place, number = start_point.parse(starts_from)
        starts_from = place if number is None else f"{place}#{number}"
    highest = 0
    if checkpoint is not None:
        with Checkpoints(checkpoint, attempt=None) as store:
            if store.completed:
                say(f"{store.uri} has already completed: nothing to run")
                return EXIT_COMPLETE
            checkpoint, highest = store.uri, store.highest_attempt
    uri = checkpoint or new_store(task.__name__)
    say(f"running {task.__qualname__} locally, checkpoints in {uri}")
    launcher = CommandLauncher(name, words)
    local = Run(task.__qualname__, launcher, uri, task.retries, drill, highest + 1, starts_from, retention)
    last = local.run()
    for line in summary.lines(local.attempts):
        say(line)
    if last.why is Why.COMPLETED:
        return EXIT_COMPLETE
    say(f"its checkpoints are kept; to go on: waypost run {name} --checkpoint {uri} ...")
    return last.ended.shell_code or 1
