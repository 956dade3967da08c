"""What an object store's answer means, and how to say it: pure, from the text of obstore's exceptions.

obstore's exception classes are too coarse to decide by: a missing bucket, an unknown access key and a missing object
are all "not found", and only the last one may ever be taken for "nothing there". So the HTTP status and the server's
own error code decide. A 404 counts as an absent key only if the server says that it is the key that is absent.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Final

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

_STATUS: Final = re.compile(r"status code: (\d{3})([^:\n]*):?")
_CODE: Final = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]+)</Message>")
_REQUEST: Final = re.compile(r"performing ([A-Z]+) (https?://[^\s?]+)\S* in ")
_ROOT_CAUSE: Final = re.compile(r'(?:message|error): "([^"]+)"')
_DELETE_FAILED: Final = re.compile(r"DeleteObjects request failed for key .*: .* \(code: (\w+)\)")
"""One key's own answer within the 200 for a bulk delete, which is how obstore deletes."""
_DUMP: Final = "\n\nDebug source:"

_ABSENT: Final = re.compile(r"NoSuchKey|No such object|BlobNotFound")
_NO_BUCKET: Final = re.compile(r"NoSuchBucket|bucket does not exist|ContainerNotFound|InvalidBucketName")
_PASSING_CODES: Final = frozenset(
    {
        "RequestTimeout",
        "IncompleteBody",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)
"""Said with a 4xx, and yet likely to pass when the request is repeated."""
_PASSING_STATUS: Final = (408, 425)
_THROTTLED: Final = re.compile(r"SlowDown|Throttl|TooManyRequests|RequestLimitExceeded|ServerBusy|rateLimitExceeded")
"""With a 503 or a 4xx; in the words of Amazon, Azure and Google."""
_NOT_NOW: Final = {
    "RequestTimeTooSkewed": "The clock of this machine differs from the storage's; set it (NTP)",
    "ExpiredToken": "The credentials have expired. Those of a service account are renewed by themselves; keys given "
    "in the environment are read once, so give the next attempt new ones",
    "QuotaExceeded": "Raise the bucket's quota, or free space",
}
"""Refused before anything was done, for a reason that may pass."""
_IN_THE_WAY: Final = ("ObjectParentIsFile", "ExistingObjectIsDirectory")
"""A 409 that is no lost race: a gateway over a file system can't keep `a` and `a/b` (versitygw)."""
_METADATA_SERVICES: Final = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")

_BUCKET: Final = "Create the bucket, or correct the URI"
_CREDENTIALS: Final = "Check the credentials (secret or service account) and what they allow on this bucket"
_NO_CREDENTIALS: Final = (
    "No credentials were found, so the machine's own were asked for; give some, as AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY for s3://, or by the pod's service account"
)
_OBSTACLE: Final = (
    "An object stands where a folder has to, or a folder where an object has to, or a part of the URI has over 255 "
    "bytes; use another URI"
)
_ADDRESS: Final = "Check the URI, the endpoint and the region"
_SLOWER: Final = "The storage asks for fewer requests: save less often, or raise its limits"
_NETWORK: Final = "Check the endpoint, and that this pod may reach it"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What can be learned from an exception's text."""

    status: int | None
    code: str | None
    cause: str

    @classmethod
    def parse(cls, text: str) -> Answer:
        """Read the text of an obstore exception, with the dump of itself that it appends."""
        head = text.partition(_DUMP)[0]
        status, code, message = _STATUS.search(head), _CODE.search(head), _MESSAGE.search(head)
        request = _REQUEST.search(head)
        if status is None:
            causes = _ROOT_CAUSE.findall(text[len(head) :])
            cause = " ".join(head.split()) + (f" ({causes[-1]})" if causes else "")
            failed = _DELETE_FAILED.search(head)
            return cls(None, None if failed is None else failed[1], cause)
        parts = [f"{status[1]}{status[2].rstrip()}"]
        if code is not None:
            parts.append(code[1] + (f": {message[1]}" if message is not None else ""))
        elif body := " ".join(head[status.end() :].split()):
            parts.append(body[:300])
        cause = ", ".join(parts) + (f" ({request[1]} {request[2]})" if request is not None else "")
        return cls(int(status[1]), None if code is None else code[1], cause)


def as_obstore_says(method: str, address: str, status: int, reason: str, body: str) -> str:
    """An answer that came another way, in the words of obstore's exceptions."""
    return f"Error performing {method} {address} in no time - status code: {status} {reason}: {body}"


def meaning(text: str, *, reading: bool = False, creating: bool = False) -> BackendError:
    """The backend's error for the text of an obstore exception that was raised while reading or creating a key."""
    answer = Answer.parse(text)
    cause, status = answer.cause, answer.status
    if any(service in text for service in _METADATA_SERVICES):
        kind = UnreachableError if status is None or status >= 500 else RefusedError
        return kind(cause, _NO_CREDENTIALS)
    if status is None:
        return _without_status(text, cause, answer.code, reading=reading, creating=creating)
    if advice := _NOT_NOW.get(answer.code or ""):
        return NotNowError(cause, advice)
    if status == 429 or (status in (400, 403, 503) and _THROTTLED.search(answer.code or "")):
        return ThrottledError(cause, _SLOWER)
    if answer.code in _IN_THE_WAY:
        return RefusedError(cause, _OBSTACLE)
    if answer.code in _PASSING_CODES or status in _PASSING_STATUS:
        return ExistsError(cause) if creating and status == 409 else UnreachableError(cause, _NETWORK)
    if status == 404:
        if reading and _ABSENT.search(text):
            return AbsentError(cause)
        return RefusedError(cause, _BUCKET if _NO_BUCKET.search(text) else f"{_CREDENTIALS}; and the URI")
    if status == 412 or (status == 409 and creating):
        return ExistsError(cause)
    if status == 501 or answer.code == "NotImplemented":
        return UnsupportedError(cause)
    if status >= 500:
        return UnreachableError(cause, _NETWORK)
    if status in (401, 403) or "Token" in (answer.code or ""):
        return RefusedError(cause, _CREDENTIALS)
    return RefusedError(cause, _BUCKET if _NO_BUCKET.search(text) else _ADDRESS)


def _without_status(text: str, cause: str, code: str | None, *, reading: bool, creating: bool) -> BackendError:
    """No server answered, or obstore didn't ask one, or only a key of a bulk delete failed."""
    if creating and "already exists" in text:
        return ExistsError(cause)
    if reading and _ABSENT.search(text):
        return AbsentError(cause)
    if code is not None and not _THROTTLED.search(code) and code not in ("InternalError", "ServiceUnavailable"):
        return RefusedError(cause, _CREDENTIALS)
    return UnreachableError(cause, _NETWORK)
