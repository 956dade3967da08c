"""The rows of the benchmark; ROWS has them in the order in which they run and are shown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.contest import Row
from tests.bench.rows.beside import STOP, TRAINING
from tests.bench.rows.changed import CHANGED
from tests.bench.rows.files import FILES, FILES_AGAIN, FILES_BACK
from tests.bench.rows.growth import MANY, RELAUNCHES
from tests.bench.rows.large import RESTORE, UPLOAD
from tests.bench.rows.states import BLOCKS, TENSORS
from tests.bench.rows.tiny import TINY

ROWS: Sequence[Row] = (
    *(UPLOAD, RESTORE, TENSORS),
    *(CHANGED, FILES, FILES_BACK, FILES_AGAIN, TINY),
    *(BLOCKS, TRAINING, STOP),
    *(RELAUNCHES, MANY),
)
