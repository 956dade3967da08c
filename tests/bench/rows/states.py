"""States of tensors: how long a save keeps the program, and how soon a state is back in tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from tests.bench.clients import OBSTORE, limit
from tests.bench.contest import BUCKET, OURS, Contestant, Goal, Results, Row, Setting, Stage, Turn, median, times
from tests.bench.environments import Environment
from tests.bench.measuring import Program, measure
from tests.bench.rows.changed import with_generations

_STORE, _PLAIN = f"s3://{BUCKET}/store", f"{BUCKET}/plain/state.pt"
STATE, FOLDER, REPLACED = f"{OURS}, a state", f"{OURS}, a folder", f"{OURS}, a folder, immutable=True"
TORCH_SAVE, COPY, DD = "torch.save", "copy in warm memory", "dd to a new file"
_SAVES = {
    STATE: "state",
    FOLDER: "folder",
    REPLACED: "immutable",
    TORCH_SAVE: "torch.save",
    "torch DCP async_save": "dcp",
    "orbax async": "orbax",
}


def _program(*arguments: str) -> Program:
    return Program(Environment.TORCH.module("through_torch", *arguments), staged=True)


def _blocks(stage: Stage) -> Sequence[Contestant]:
    def save(name: str, what: str) -> Contestant:
        def program(turn: Turn) -> Program:
            return _program("block", what, f"{turn.folder}/saved", _STORE, str(stage.mebibytes))

        return Contestant(name, program, limit=what == "copy")

    return [save(name, what) for name, what in {**_SAVES, COPY: "copy"}.items()]


@contextlib.contextmanager
def _with_states_in_the_store(stage: Stage, setting: Setting) -> Iterator[None]:
    with with_generations(stage, setting):
        measure(_program("put", _STORE, str(stage.mebibytes)), stage.server)
        measure(OBSTORE.put(str(stage.folder / "generations" / "first.pt"), _PLAIN), stage.server)
        yield


def _backs(stage: Stage) -> Sequence[Contestant]:
    def back(name: str, what: str, source: str) -> Contestant:
        def program(turn: Turn) -> Program:
            return _program("back", what, source, f"{turn.folder}/state.pt", str(stage.mebibytes))

        return Contestant(name, program)

    generation = str(stage.folder / "generations" / "first.pt")
    return [
        back(OURS, "waypost", _STORE),
        back("s3fs and torch.load", "s3fs", _PLAIN),
        back("obstore and torch.load", "obstore", _PLAIN),
        limit(DD, lambda turn: ["dd", generation, f"{turn.folder}/state.pt"]),
    ]


def _share_of_torch_save(results: Results) -> float:
    """Of the folder whose files are replaced and never rewritten, which is what this program does and promises."""
    return median(results, TORCH_SAVE) / median(results, REPLACED)


BLOCKS = Row(
    "blocks",
    "How long a save keeps the program from its next step (`safe`: until nothing can be lost; DCP and orbax: on tmpfs)",
    _blocks,
    goals=(
        Goal("a folder's save() blocks 500 times shorter than torch.save", _share_of_torch_save, least=500),
        Goal("a state's save() takes 1.2 of a copy in warm memory", times(STATE, COPY), most=1.2),
    ),
    columns={"whole": "safe"},
    needs_torch=True,
)
TENSORS = Row(
    "tensors",
    "A state from the store into tensors, verified by Waypost",
    _backs,
    _with_states_in_the_store,
    goals=(Goal("into tensors at 1.3 of `dd` to a new file", times(DD), least=1.3),),
    moved=lambda stage: stage.size,
    keeps_objects=True,
    needs_torch=True,
)
