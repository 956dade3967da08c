"""Provokes a real S3 server's answers and takes down the client's words for them, for `tests/unit/store/answers/`.

What an answer means is read from the text of obstore's exceptions (`waypost.backends.answers`), which neither obstore
nor the servers promise to keep. So the texts in the unit tests are captured, not invented:

    python -m tests.witness.answers versitygw   # or: ceph

and an integration test asks the real servers again whether they still mean the same.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

from tests.witness import troubles
from tests.witness.faultproxy import FaultProxy, Trouble

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig, S3Config


FOLDER = Path(__file__).parents[1] / "unit" / "store" / "answers"
BUCKET = "checkpoints"


@dataclasses.dataclass(frozen=True)
class Said:
    """One answer in the client's words, and what was asked."""

    name: str
    reading: bool
    creating: bool
    text: str


@dataclasses.dataclass(frozen=True)
class _Question:
    ask: Callable[[S3Store], object]
    reading: bool = False
    creating: bool = False
    config: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bucket: str = BUCKET
    trouble: Trouble | None = None


def _get(key: str, part: tuple[int, int] | None = None) -> Callable[[S3Store], object]:
    options: GetOptions = {} if part is None else {"range": part}
    return lambda store: obstore.get(store, key, options=options).bytes()


def _put(key: str, body: bytes = b"x") -> Callable[[S3Store], object]:
    return lambda store: obstore.put(store, key, body, use_multipart=False)


def _create(key: str) -> Callable[[S3Store], object]:
    return lambda store: obstore.put(store, key, b"x", mode="create", use_multipart=False)


_SAID_BY_PROXY = {
    "slow down": troubles.SLOW_DOWN,
    "too many requests": troubles.TOO_MANY_REQUESTS,
    "internal error": troubles.INTERNAL_ERROR,
    "expired token": troubles.EXPIRED_TOKEN,
    "clock skew": troubles.TIME_TOO_SKEWED,
    "reset": troubles.reset_before,
}
_NOBODY = {"endpoint": "http://127.0.0.1:1"}
QUESTIONS: Mapping[str, _Question] = {
    "read a key that isn't there": _Question(_get("absent"), reading=True),
    "read a part of a key that isn't there": _Question(_get("absent", (0, 10)), reading=True),
    "read behind the end": _Question(_get("there", (100, 110)), reading=True),
    "read from a bucket that isn't there": _Question(_get("absent"), reading=True, bucket="no-such-bucket"),
    "write to a bucket that isn't there": _Question(_put("x"), bucket="no-such-bucket"),
    "list a bucket that isn't there": _Question(lambda store: list(obstore.list(store)), bucket="no-such-bucket"),
    "read with an unknown key": _Question(_get("there"), reading=True, config={"access_key_id": "nobody"}),
    "read with a wrong secret": _Question(_get("there"), reading=True, config={"secret_access_key": "wrong"}),
    "create with a wrong secret": _Question(_create("new"), creating=True, config={"secret_access_key": "wrong"}),
    "create a key that is there": _Question(_create("there"), creating=True),
    "read from where nobody listens": _Question(_get("there"), reading=True, config=_NOBODY),
    "create where nobody listens": _Question(_create("new"), creating=True, config=_NOBODY),
    "read from an unknown host": _Question(
        _get("there"), reading=True, config={"endpoint": "http://no-such-host.invalid"}
    ),
    "read, cut in the middle": _Question(_get("there"), reading=True, trouble=troubles.cut_download),
    "write, cut in the middle": _Question(_put("cut", bytes(100_000)), trouble=troubles.cut_upload),
    "delete, denied": _Question(
        lambda store: obstore.delete(store, "there"), reading=True, trouble=troubles.refuses_to_delete("AccessDenied")
    ),
    **{f"read: {name}": _Question(_get("there"), reading=True, trouble=act) for name, act in _SAID_BY_PROXY.items()},
    **{
        f"create: {name}": _Question(_create("new"), creating=True, trouble=act) for name, act in _SAID_BY_PROXY.items()
    },
}
VERSITYGW: Mapping[str, _Question] = {
    "create below an object": _Question(_create("there/below"), creating=True),
    "write below an object": _Question(_put("there/below")),
    "create where a folder is": _Question(_create("folder"), creating=True),
    "write where a folder is": _Question(_put("folder")),
    "create a key with a part of 300 bytes": _Question(_create("x" * 300), creating=True),
}
"""What only a gateway over a file system refuses."""


def ask(
    endpoint: str, environment: Mapping[str, str], prefix: str, questions: Mapping[str, _Question]
) -> Iterator[Said]:
    """Ask all of it of the server at `endpoint`, below `prefix` in the bucket; raises when it had nothing to refuse."""
    with FaultProxy(endpoint) as proxy:
        keys = {
            "endpoint": proxy.endpoint,
            "access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            "region": environment["AWS_REGION"],
        }
        for key in ("there", "folder/below"):
            _put(key)(_store(BUCKET, prefix, keys))
        for name, question in questions.items():
            if question.trouble is not None:
                proxy.plan(question.trouble)
            try:
                question.ask(_store(question.bucket, prefix, {**keys, **question.config}))
            except Exception as error:  # noqa: BLE001 - what it is, is what is asked
                yield Said(name, question.reading, question.creating, str(error))
            else:
                raise AssertionError(f"nothing went wrong: {name}")


def _store(bucket: str, prefix: str, keys: Mapping[str, str]) -> S3Store:
    client: ClientConfig = {"allow_http": True, "connect_timeout": "10s", "timeout": "30s"}
    retries: RetryConfig = {"max_retries": 0, "retry_timeout": datetime.timedelta(seconds=60)}
    config: S3Config = {"checksum_algorithm": "SHA256", **keys}  # type: ignore[typeddict-item]
    return S3Store(bucket, prefix=prefix, config=config, client_options=client, retry_config=retries)


def main(name: str) -> None:
    """Capture the answers of one server; what each means is filled in by what the code makes of it, to be reviewed."""
    from tests.cluster import CephServer, S3Server
    from waypost.backends.answers import meaning

    starting, questions = {
        "versitygw": (S3Server.start, {**QUESTIONS, **VERSITYGW}),
        "ceph": (CephServer.start, QUESTIONS),
    }[name]
    with starting(BUCKET) as running:
        found = []
        for said in ask(running.endpoint, running.environment, "captured", questions):
            meant = meaning(said.text, reading=said.reading, creating=said.creating)
            found.append({"means": type(meant).__name__, **dataclasses.asdict(said)})
    record = {"server": name, "obstore": importlib.metadata.version("obstore"), "answers": found}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
