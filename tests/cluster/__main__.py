"""The command line: `python -m tests.cluster up|down|status|kubeconfig|build`.

Progress goes to stderr; stdout has only the result, so `export KUBECONFIG=$(… kubeconfig)` works.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .binaries import PROGRAMS, build_binaries
from .errors import ClusterError
from .images import base_archive, pause_archive, s3_archive
from .provider import DEFAULT_NAME, PROVIDERS, provider


def main() -> int:
    """Run one command; the exit status is 1 when it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="A real cluster for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "start the cluster and wait until its nodes are ready"),
        ("down", "end it and take back everything it put on this machine"),
        ("status", "say whether it is up, and what is wrong with it"),
        ("kubeconfig", "print the path of the administrator's kubeconfig"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--provider", choices=PROVIDERS, default="local")
        command.add_argument("--name", default=DEFAULT_NAME)
        command.add_argument("--nodes", type=int, default=2)
        command.add_argument("--kubeconfig", type=Path, help="the cluster, for --provider existing")
    build = commands.add_parser("build", help="build programs and base images ahead of time")
    build.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(PROGRAMS)}; all if none")
    arguments = parser.parse_args()
    try:
        if arguments.command == "build":
            return _build(arguments.programs)
        cluster = provider(arguments.provider, arguments.name, arguments.nodes, arguments.kubeconfig)
        if arguments.command == "up":
            cluster.up()
        elif arguments.command == "down":
            cluster.down()
        elif arguments.command == "status":
            print(cluster.status())
        else:
            print(cluster.kubeconfig)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _build(programs: list[str]) -> int:
    for path in build_binaries(programs or None).values():
        print(path)
    if not programs:
        for archive in (base_archive(), pause_archive(), s3_archive()):
            print(archive)
    return 0


if __name__ == "__main__":
    sys.exit(main())
