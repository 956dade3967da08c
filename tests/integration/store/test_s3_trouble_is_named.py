"""What goes wrong with S3 is said in the server's words, with URI, operation and what to do; it's never "empty"."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import S3Server
from waypost import contract
from waypost.checkpoints import Checkpoints, preflight
from waypost.errors import StorageError
from waypost.store.calls import Budget

pytestmark = pytest.mark.integration
SHORT = Budget(seconds=1.0)


def open_writer(uri: str) -> None:
    Checkpoints(uri, attempt=1, starting=SHORT, saving=SHORT).close()


def open_reader(uri: str) -> None:
    with Checkpoints(uri, saving=SHORT) as reader:
        reader.latest()


@pytest.mark.parametrize("use", [open_writer, open_reader])
@pytest.mark.parametrize(
    ("environment", "words", "advice"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "(?i)access ?key", "Check the credentials"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch", "Check the credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "Connection refused", "Check the endpoint"),
        ({"AWS_ENDPOINT_URL": "http://no-such-host.invalid"}, "lookup address", "Check the endpoint"),
    ],
    ids=["unknown key", "wrong secret", "nobody listens", "unknown host"],
)
def test_each_trouble_is_a_storage_error(
    s3: str,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[str], None],
    environment: dict[str, str],
    words: str,
    advice: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match=words) as caught:
        use(s3)
    message = str(caught.value)
    assert s3 in message
    assert advice in message
    assert message.startswith("can't read format.json of ")
    assert caught.value.exit_code == contract.EXIT_STORAGE


@pytest.mark.parametrize("use", [open_writer, open_reader, preflight])
def test_a_missing_bucket_is_not_an_empty_store(s3: str, use: Callable[[str], None]) -> None:
    with pytest.raises(StorageError, match=r"s3://no-such-bucket/x: .*NoSuchBucket.*Create the bucket"):
        use("s3://no-such-bucket/x")


def test_an_outage_shorter_than_the_budget_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with S3Server.start("bucket") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with Checkpoints("s3://bucket/x", attempt=1) as store:
            store.save(b"one", step=1, wait=True)
            server.kill()
            handle = store.save(b"two" * 50_000, step=2)
            assert not handle.done()
            server.restart()
            assert handle.result(60).step == 2
        with Checkpoints("s3://bucket/x", attempt=2) as second:
            assert second.read_bytes() == b"two" * 50_000


def test_an_outage_longer_than_the_budget_is_a_storage_error_and_later_saves_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with S3Server.start("bucket") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with Checkpoints("s3://bucket/x", attempt=1, saving=SHORT) as store:
            store.save(b"one", step=1, wait=True)
            server.kill()
            began = time.monotonic()
            with pytest.raises(StorageError, match="Connection refused") as caught:
                store.save(b"two", step=2, wait=True)
            assert time.monotonic() - began < 10
            assert caught.value.outcome == "unknown"
            server.restart()
            assert store.save(b"three", step=3, wait=True).result().parent == 2
