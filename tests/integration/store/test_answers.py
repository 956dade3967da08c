"""What real servers answer today means what it meant when it was captured for the unit tests."""

from __future__ import annotations

import json

import pytest

from tests.cluster import S3Service
from tests.witness.answers import FOLDER, QUESTIONS, ask
from waypost.backends.answers import meaning

pytestmark = pytest.mark.integration


def test_real_servers_still_mean_what_they_meant(s3: str, s3_server: S3Service) -> None:
    captured = json.loads((FOLDER / "versitygw.json").read_text(encoding="utf-8"))["answers"]
    means = {said["name"]: said["means"] for said in captured}
    prefix = s3.partition("://")[2].partition("/")[2]
    for said in ask(s3_server.endpoint, s3_server.environment, prefix, QUESTIONS):
        meant = meaning(said.text, reading=said.reading, creating=said.creating)
        assert type(meant).__name__ == means[said.name], f"{said.name}: {said.text}"
