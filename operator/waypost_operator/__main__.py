"""`python -m waypost_operator`: reads the flags, joins the operator to its transport, and ends them in order.

Exit status: 0 after SIGTERM or SIGINT · 1 the watches ended or something unexpected happened · 2 wrong flags, no
CRD, missing permissions, or no API server · 3 the lease was lost. The pod's restart is the remedy for 1 and 3.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from kubernetes.aio.client import ApiClient

from waypost import contract
from waypost_operator import handlers
from waypost_operator.model.observed import CleanupImage
from waypost_operator.runtime import connect, logs, preflight
from waypost_operator.runtime.client import Client
from waypost_operator.runtime.errors import ConfigurationError, LeadershipLostError, OperatorError
from waypost_operator.runtime.objects import Key
from waypost_operator.runtime.operator import Operator

logger = logging.getLogger("waypost_operator")

STOP_SECONDS = 10.0
"""For kopf's watches to end; they do nothing that would be lost."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the operator with these arguments (the process's own by default) and exit."""
    options = parse(arguments)
    logs.configure(options.log_format)
    try:
        asyncio.run(run(options))
    except ConfigurationError as error:
        logger.critical("%s", error)
        sys.exit(2)
    except LeadershipLostError as error:
        logger.critical("%s", error)
        sys.exit(3)
    except OperatorError as error:
        logger.critical("%s", error)
        sys.exit(1)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The flags, with the lease's namespace worked out."""
    parser = argparse.ArgumentParser(prog="waypost-operator", description="Runs CheckpointedTasks on spot machines.")
    parser.add_argument(
        "--namespace", action="append", default=[], help="serve this namespace (repeatable; none = all)"
    )
    parser.add_argument("--leader-election", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--lease-namespace", default=None, help="namespace of the lease (default: the pod's own)")
    parser.add_argument("--lease-name", default=contract.FIELD_MANAGER, help="name of the lease (default: %(default)s)")
    parser.add_argument("--liveness-port", type=_port, default=8080, help="GET /healthz here; 0 = off")
    parser.add_argument("--log-format", choices=("json", "text"), default="text")
    parser.add_argument("--resync-seconds", type=_seconds, default=300.0, help="between two sweeps (default: 300)")
    parser.add_argument("--workers", type=_count, default=8, help="tasks decided at a time (default: %(default)s)")
    parser.add_argument(
        "--cleanup-image", default="", help="Waypost's own image, for the pods that delete a deleted task's checkpoints"
    )
    parser.add_argument(
        "--cleanup-pull-policy", choices=("", "Always", "IfNotPresent", "Never"), default="", help="when to pull it"
    )
    options = parser.parse_args(arguments)
    if options.leader_election:
        options.lease_namespace = options.lease_namespace or connect.own_namespace()
        if options.lease_namespace is None:
            parser.error("not in a cluster: say where the lease lies (--lease-namespace), or --no-leader-election")
    return options


async def run(options: argparse.Namespace) -> None:
    """Run until a signal comes or something ends that should not."""
    told = asyncio.Event()
    _on_signals(told)
    telling = asyncio.create_task(told.wait(), name="signals")
    lease = Key(options.lease_namespace, options.lease_name) if options.leader_election else None
    async with ApiClient(await connect.configuration()) as api:
        api.user_agent = contract.FIELD_MANAGER
        checking = asyncio.create_task(preflight.check(Client(api), options.namespace, lease))
        await asyncio.wait({checking, telling}, return_when=asyncio.FIRST_COMPLETED)
        if told.is_set():
            await _end(checking)
            return
        checking.result()
        identity = f"{os.environ.get('HOSTNAME') or platform.node()}_{uuid.uuid4().hex[:8]}"
        operator = Operator(
            api,
            identity,
            lease,
            options.namespace,
            options.resync_seconds,
            options.workers,
            cleanup_image=_cleanup_image(options),
        )
        logger.info("%s serves %s", identity, ", ".join(options.namespace) or "all namespaces")
        await _operate(operator, options, told, telling)
    logger.info("stopped")


async def _operate(
    operator: Operator, options: argparse.Namespace, told: asyncio.Event, telling: asyncio.Task[Literal[True]]
) -> None:
    """Run the work and the watches side by side; end the work first, and the watches after it."""
    stop_watching = asyncio.Event()
    working = asyncio.create_task(operator.run(), name="work")
    watching = asyncio.create_task(
        handlers.serve(
            handlers.registry(operator.intake, operator.complaints, connect.configuration),
            options.namespace,
            options.liveness_port,
            stop_watching,
            started=lambda: _on_signals(told),  # taken back from kopf, which would end the watches first
        ),
        name="watches",
    )
    await asyncio.wait({working, watching, telling}, return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in (working, watching) if task.done()]
    await _end(working)
    stop_watching.set()
    await asyncio.wait({watching}, timeout=STOP_SECONDS)
    await _end(watching, telling)
    for task in failed:
        error = task.exception()
        if isinstance(error, OperatorError):
            raise error
        raise OperatorError(
            f"the operator's {task.get_name()} ended without being told to, which a restart mends: {error!r}"
        ) from error


def _cleanup_image(options: argparse.Namespace) -> CleanupImage | None:
    return CleanupImage(options.cleanup_image, options.cleanup_pull_policy) if options.cleanup_image else None


def _on_signals(told: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set this event."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these tasks and wait for their end; what they raise is kept in them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 86400 seconds")
    return seconds


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 256")
    return number


if __name__ == "__main__":
    main()
