"""The command `waypost`, also installed as `kubectl-waypost`: one file per group of commands.

What goes wrong is one clear line on standard error and the exit code that the operator judges by, because in a pod
this command is the program.
"""

from __future__ import annotations

import sys

import click

import waypost
from waypost import attempt
from waypost.cli.checkpoints import checkpoints
from waypost.cli.run import run
from waypost.ending import judge
from waypost.errors import WaypostError
from waypost.log import say


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(waypost.__version__, prog_name="waypost")
def cli() -> None:
    """Long tasks on spot machines that never lose committed progress."""


cli.add_command(run)
cli.add_command(checkpoints)


def main() -> None:
    """Run the command line; the entry point of `waypost` and `kubectl-waypost`."""
    try:
        cli()
    except WaypostError as error:
        say(f"error: {error}")
        end = judge(error)
        end.record(_report())
        sys.exit(end.exit_code)


def _report() -> attempt.Report | None:
    try:
        return attempt.report()
    except WaypostError:  # the environment itself is what is wrong, and has just been reported
        return None
