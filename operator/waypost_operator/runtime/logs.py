"""Log lines for people (text) or for a collector (json), with namespace, task and attempt as fields of their own."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Final, Literal

from waypost_operator.runtime.objects import Key, Object

FIELDS: Final = ("namespace", "task", "attempt")


def log_fields(key: Key, task: Object | None = None) -> dict[str, object]:
    """What a line about a task says in fields of its own (`extra=`): one task or attempt can be searched for."""
    attempt = ((task or {}).get("status") or {}).get("attempt")
    return {"namespace": key.namespace, "task": key.name} | ({"attempt": attempt} if attempt is not None else {})


class TextFormatter(logging.Formatter):
    """`time level logger [namespace/task attempt] message`, the task only where a line is about one."""

    def format(self, record: logging.LogRecord) -> str:
        task = getattr(record, "task", None)
        attempt = getattr(record, "attempt", None)
        about = (
            ""
            if task is None
            else f"[{getattr(record, 'namespace', '')}/{task}" + (f" #{attempt}] " if attempt is not None else "] ")
        )
        record.about = about
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {field: getattr(record, field) for field in FIELDS if hasattr(record, field)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(style: Literal["json", "text"]) -> None:
    """Send all log lines to standard error in this style, kopf's from warnings upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if style == "json" else TextFormatter("%(asctime)s %(levelname)s %(name)s %(about)s%(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # Its traceback for each failed health check says less than kopf's line about the same.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
