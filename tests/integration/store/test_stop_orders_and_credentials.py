"""SIGTERM while storage hangs, and credentials that change under a running program: a real server, real processes."""

from __future__ import annotations

import datetime
import http.server
import os
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import urllib.parse
from pathlib import Path

import pytest

from tests.cluster import S3Server
from tests.cluster.certificates import Authority
from tests.witness.faultproxy import FaultProxy
from tests.witness.troubles import hang
from waypost import contract
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import RefusedError
from waypost.checkpoints import Checkpoints
from waypost.contract import Document
from waypost.errors import StorageError

pytestmark = pytest.mark.integration
GRACE = 9
one_server = pytest.mark.parametrize("s3_server", ["versitygw"], indirect=True)
"""What is tried here is the client's patience, and takes long."""


# --- SIGTERM while a request hangs -----------------------------------------------------------------------------------
class Pod:
    """A program in a process of its own, told what the operator tells one."""

    def __init__(self, folder: Path, uri: str, program: str) -> None:
        self._message = folder / "termination-log"
        self._message.touch()
        told = {
            contract.ENV_CHECKPOINT_DST: uri,
            contract.ENV_CHECKPOINT_SRC: uri,
            contract.ENV_ATTEMPT: "1",
            contract.ENV_POD_UID: "pod-1",
            contract.ENV_GRACE_SECONDS: str(GRACE),
            contract.ENV_TERMINATION_LOG: str(self._message),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        prelude = "import time, waypost\nfrom waypost import Checkpoints\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + textwrap.dedent(program)], env={**os.environ, **told}
        )

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(GRACE + 20), time.monotonic() - began

    @property
    def document(self) -> Document:
        found = Document.parse(self._message.read_text())
        assert found is not None
        return found


@one_server
@pytest.mark.parametrize(("verb", "part"), [("GET", "format.json"), ("LIST", "/log/"), ("PUT", "/log/")])
def test_sigterm_ends_a_start_that_hangs(s3: str, proxy: FaultProxy, tmp_path: Path, verb: str, part: str) -> None:
    plan = proxy.plan(hang, verb, part, times=None)
    with Pod(tmp_path, s3, "Checkpoints()") as pod:
        assert plan.arrived.wait(60)
        code, seconds = pod.stop()
        assert code == contract.EXIT_RECOVERABLE
        assert seconds < 5
        assert pod.document.stop_requested


@one_server
def test_after_sigterm_a_save_that_hangs_is_tried_again_within_the_grace(
    s3: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    plan = proxy.plan(hang, "PUT", "/log/", spare=1)
    with Pod(tmp_path, s3, "Checkpoints().save(b'last words', step=7, wait=True)") as pod:
        assert plan.arrived.wait(60)
        code, seconds = pod.stop()
        assert code == contract.EXIT_RECOVERABLE
        assert seconds < GRACE
        assert pod.document.committed is not None
        assert pod.document.committed.step == 7
    with Checkpoints(s3) as reader:
        assert reader.read_bytes() == b"last words"


@one_server
@pytest.mark.parametrize(
    "program",
    [
        "Checkpoints().save(b'last words', step=7, wait=True)",
        "Checkpoints().save(b'last words', step=7)",
        "Checkpoints().save(b'last words', step=7)\nwhile not waypost.preemption_requested(): time.sleep(0.1)",
    ],
    ids=["waiting", "at exit", "in the background"],
)
def test_after_sigterm_storage_that_stays_away_is_told_before_the_grace_ends(
    s3: str, proxy: FaultProxy, tmp_path: Path, program: str
) -> None:
    plan = proxy.plan(hang, "", "/log/", times=None, spare=3)  # the start goes well
    with Pod(tmp_path, s3, program) as pod:
        assert plan.arrived.wait(60)
        code, seconds = pod.stop()
        assert code == contract.EXIT_STORAGE
        assert GRACE / 2 < seconds < GRACE
        assert pod.document.stop_requested
        assert pod.document.reason == contract.DocumentReason.STORAGE_ERROR
        assert pod.document.message is not None
        assert s3 in pod.document.message


# --- Credentials -----------------------------------------------------------------------------------------------------
def test_keys_that_are_rotated_end_the_attempt_and_the_next_one_has_the_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with S3Server.start("bucket") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with Checkpoints("s3://bucket/x", attempt=1) as store:
            store.save(b"one", step=1, wait=True)
            server.kill()
            server.secret_key = "rotated"
            server.restart()
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "rotated")
            with pytest.raises(StorageError, match=r"SignatureDoesNotMatch.*Check the credentials") as caught:
                store.save(b"two", step=2, wait=True)
            assert caught.value.outcome == "not saved"
            assert caught.value.exit_code == contract.EXIT_STORAGE
        with Checkpoints("s3://bucket/x", attempt=2) as second:
            assert second.read_bytes() == b"one"


class TokenService:
    """What exchanges a service account's token for keys: Amazon's AssumeRoleWithWebIdentity, for keys of this test."""

    def __init__(self, folder: Path, lifetime: datetime.timedelta) -> None:
        self.tokens: list[str] = []
        authority = Authority(folder)
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query + "&" + body)
                service.tokens += asked["WebIdentityToken"]
                number, until = len(service.tokens), datetime.datetime.now(datetime.UTC) + lifetime
                keys = {
                    "AccessKeyId": "key",
                    "SecretAccessKey": "secret",
                    "SessionToken": f"session-{number}",
                    "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
                given = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
                action = "AssumeRoleWithWebIdentity"
                result = f"<{action}Result><Credentials>{given}</Credentials></{action}Result>"
                answer = f"<{action}Response>{result}</{action}Response>".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("sts", "sts", hosts=["localhost"]))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.environment = {
            "SSL_CERT_FILE": str(authority.certificate),
            "AWS_ENDPOINT_URL_STS": f"https://localhost:{self._server.server_port}",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/training",
        }

    def __enter__(self) -> TokenService:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def token_file(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The token of a pod's service account, which the kubelet replaces now and then; no other keys are given."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path = tmp_path / "token"
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(path))
    return path


@one_server
@pytest.mark.parametrize(("seconds", "renewed"), [(60, True), (3600, False)], ids=["nearly out", "fresh"])
def test_a_service_accounts_keys_are_renewed_in_time_with_the_token_as_it_is_then(
    s3: str,
    proxy: FaultProxy,
    token_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    renewed: bool,
) -> None:
    with TokenService(tmp_path / "sts", datetime.timedelta(seconds=seconds)) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        backend = ObjectStoreBackend(s3)
        for number in (1, 2):
            token_file.write_text(f"token-{number}")
            with pytest.raises(RefusedError, match=r"Token|AccessKey"):  # the server knows nothing of these keys
                backend.put("packs/x", b"x")
            time.sleep(0.2)  # a client asks for new keys at most ten times a second
    assert service.tokens == (["token-1", "token-2"] if renewed else ["token-1"])
    sent = [request.headers["x-amz-security-token"] for request in proxy.requests]
    assert sent == (["session-1", "session-2"] if renewed else ["session-1", "session-1"])
