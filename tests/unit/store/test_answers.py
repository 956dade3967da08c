"""What an object store's answer means: texts captured from real servers, and codes that only Amazon's own has.

`answers/` is what `python -m tests.witness.answers` took down; tests/integration/store/test_answers.py asks again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from waypost.backends.answers import Answer, meaning
from waypost.backends.protocol import (
    AbsentError,
    BackendError,
    ExistsError,
    NotNowError,
    RefusedError,
    ThrottledError,
    UnreachableError,
    UnsupportedError,
)


def said(method: str, status: str, code: str, message: str = "words of the server", prefix: str = "") -> str:
    return (
        f"{prefix}Error performing {method} http://127.0.0.1:7070/bucket/pre/y/a?x=1 in 4.115181ms - Server returned "
        f'non-2xx status code: {status}: <?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>8S8C</RequestId></Error>\n\n"
        "Debug source:\nNotFound {...}"
    )


REFUSED_CONNECTION = (
    "Generic S3 error: Error performing GET http://127.0.0.1:1/bucket-a/pre/y/a in 569.53µs - HTTP error: error "
    'sending request\n\nDebug source:\nGeneric { source: ConnectError("tcp connect error", Os { code: 111, kind: '
    'ConnectionRefused, message: "Connection refused" }) }'
)
NO_CREDENTIALS = (
    "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 3.6ms - HTTP error: error "
    "sending request\n\nDebug source:\nGeneric {}"
)


DELETE_DENIED = (
    "Generic S3 error: DeleteObjects request failed for key x/a: Access Denied (code: AccessDenied)\n\nDebug source:\n"
    'Generic {\n    store: "S3",\n    source: DeleteFailed {\n        path: "x/a",\n        code: "AccessDenied"'
)


@pytest.mark.parametrize(
    ("text", "reading", "creating", "kind"),
    [
        (said("GET", "404 Not Found", "NoSuchKey"), True, False, AbsentError),
        (said("GET", "404 Not Found", "BlobNotFound"), True, False, AbsentError),
        (said("GET", "404 Not Found", "NoSuchBucket"), True, False, RefusedError),
        (said("GET", "404 Not Found", "XAdminUserNotFound"), True, False, RefusedError),
        (said("GET", "404 Not Found", "SomethingElse"), True, False, RefusedError),
        (said("PUT", "404 Not Found", "NoSuchKey"), False, True, RefusedError),
        (said("PUT", "412 Precondition Failed", "PreconditionFailed"), False, True, ExistsError),
        (said("PUT", "409 Conflict", "ConditionalRequestConflict"), False, True, ExistsError),
        (said("PUT", "409 Conflict", "OperationAborted"), False, False, UnreachableError),
        (said("PUT", "409 Conflict", "ExistingObjectIsDirectory"), False, False, RefusedError),
        (said("PUT", "409 Conflict", "ExistingObjectIsDirectory"), False, True, RefusedError),
        (said("PUT", "409 Conflict", "ObjectParentIsFile"), False, True, RefusedError),
        (said("GET", "403 Forbidden", "AccessDenied"), True, False, RefusedError),
        (said("GET", "403 Forbidden", "RequestTimeTooSkewed"), True, False, NotNowError),
        (said("PUT", "403 Forbidden", "QuotaExceeded"), False, False, NotNowError),
        (said("GET", "403 Forbidden", "SignatureDoesNotMatch"), True, False, RefusedError),
        (said("GET", "401 Unauthorized", "x"), True, False, RefusedError),
        (said("GET", "400 Bad Request", "ExpiredToken"), True, False, NotNowError),
        (said("PUT", "400 Bad Request", "InvalidBucketName"), False, True, RefusedError),
        (said("PUT", "400 Bad Request", "RequestTimeout"), False, True, UnreachableError),
        (said("PUT", "400 Bad Request", "BadDigest"), False, False, UnreachableError),
        (said("PUT", "400 Bad Request", "NotImplemented"), False, True, UnsupportedError),
        (said("PUT", "501 Not Implemented", "NotImplemented"), False, True, UnsupportedError),
        (said("PUT", "301 Moved Permanently", "PermanentRedirect"), False, True, RefusedError),
        (said("PUT", "429 Too Many Requests", "x"), False, True, ThrottledError),
        (said("PUT", "500 Internal Server Error", "InternalError"), False, True, UnreachableError),
        (said("PUT", "503 Service Unavailable", "SlowDown"), False, True, ThrottledError),
        (said("GET", "503 Service Unavailable", "SlowDown"), True, False, ThrottledError),
        (said("GET", "503 Service Unavailable", "ServiceUnavailable"), True, False, UnreachableError),
        (DELETE_DENIED, True, False, RefusedError),
        (DELETE_DENIED.replace("AccessDenied", "SlowDown"), True, False, UnreachableError),
        (REFUSED_CONNECTION, True, False, UnreachableError),
        (NO_CREDENTIALS, True, False, UnreachableError),
        ("anything else", True, True, UnreachableError),
    ],
)
def test_each_answer_means(text: str, reading: bool, creating: bool, kind: type[BackendError]) -> None:
    assert type(meaning(text, reading=reading, creating=creating)) is kind


def test_the_cause_is_the_servers_words_and_the_request_and_nothing_else() -> None:
    text = said("GET", "403 Forbidden", "SignatureDoesNotMatch", "Check your key.", "Object not found: ")
    assert Answer.parse(text).cause == (
        "403 Forbidden, SignatureDoesNotMatch: Check your key. (GET http://127.0.0.1:7070/bucket/pre/y/a)"
    )


def test_an_answer_that_is_no_xml_is_shown_as_it_is() -> None:
    text = "Error performing GET http://h/x in 1ms - Server returned non-2xx status code: 502 Bad Gateway: <html>nginx"
    assert Answer.parse(text).cause == "502 Bad Gateway, <html>nginx (GET http://h/x)"


def test_no_answer_names_the_root_cause() -> None:
    assert "Connection refused" in Answer.parse(REFUSED_CONNECTION).cause
    assert "Debug source" not in Answer.parse(REFUSED_CONNECTION).cause


def test_missing_credentials_are_called_so() -> None:
    assert "No credentials were found" in meaning(NO_CREDENTIALS, reading=True).advice


CAPTURED = [
    (path.stem, said)
    for path in sorted((Path(__file__).parent / "answers").glob("*.json"))
    for said in json.loads(path.read_text(encoding="utf-8"))["answers"]
]


@pytest.mark.parametrize(("server", "said"), CAPTURED, ids=[f"{server}: {said['name']}" for server, said in CAPTURED])
def test_each_answer_that_a_real_server_gave_means(server: str, said: dict[str, Any]) -> None:
    meant = meaning(said["text"], reading=said["reading"], creating=said["creating"])
    assert type(meant).__name__ == said["means"]
    assert "Debug source" not in meant.cause
    assert len(meant.cause) < 1000
