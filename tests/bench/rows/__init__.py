"""The rows of the benchmark, a file each; ROWS has them in the order in which they run and are shown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.contest import Row
from tests.bench.rows.files import FILES, FILES_AGAIN, FILES_BACK
from tests.bench.rows.large import RESTORE, UPLOAD
from tests.bench.rows.tiny import TINY

ROWS: Sequence[Row] = (UPLOAD, RESTORE, FILES, FILES_BACK, FILES_AGAIN, TINY)
