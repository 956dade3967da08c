"""What a framework's state costs to save and to get back, in an environment with torch.

`make FOLDER MIB`: two generations of a torch.save file. The second has 5 % of its tensors changed, and more in its
pickle. `block WHAT PATH URI MIB`: how long a save keeps the program from its next step, once buffers are warm, and how
long until the state is safe. `back WHAT SOURCE PATH MIB`: a state into tensors that compute with it next.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.bench.peers.staged import timed

_TENSORS = 240
_CHANGED = 12
_MIB = 1 << 20
_WARM_UP = 2


def tensors(mebibytes: int) -> dict[str, Any]:
    """A state of random tensors of the same size each."""
    generator = torch.Generator().manual_seed(41)
    length = mebibytes * _MIB // _TENSORS // 4
    return {f"layer.{number}": torch.randn(length, generator=generator) for number in range(_TENSORS)}


def make(folder: str, mebibytes: int) -> None:
    state = tensors(mebibytes)
    losses = [0.5]
    torch.save({"model": state, "losses": losses}, Path(folder, "first.pt"))
    for number in range(0, _TENSORS, _TENSORS // _CHANGED):
        state[f"layer.{number}"].normal_()
    torch.save({"model": state, "losses": losses * 100, "epoch": "two"}, Path(folder, "second.pt"))


Blocking = Callable[[], Callable[[], object]]
"""A save: returns when the program may go on, with what waits for the rest."""


def block(what: str, path: str, uri: str, mebibytes: int) -> None:
    state = tensors(mebibytes)
    save = _SAVES[what](state, path, uri)
    for number in range(_WARM_UP):
        save(number)()
        for tensor in state.values():
            tensor.add_(1)  # as a step does: what has not changed need not be saved again
        if what in ("folder", "immutable"):
            _write_parts(state, Path(path))
    with timed() as report:
        began = time.perf_counter()
        rest = save(_WARM_UP)
        report["seconds"] = time.perf_counter() - began
        rest()
        report["whole"] = time.perf_counter() - began


def _nothing_left() -> None:
    """A save that is over when it returns."""


def _torch_save(state: dict[str, Any], path: str, _: str) -> Callable[[int], Callable[[], object]]:
    def save(number: int) -> Callable[[], object]:
        torch.save(state, f"{path}-{number}.pt")
        return _nothing_left

    return save


def _copy(state: dict[str, Any], _: str, __: str) -> Callable[[int], Callable[[], object]]:
    warm = {name: tensor.clone() for name, tensor in state.items()}

    def save(_: int) -> Callable[[], object]:
        for name, tensor in state.items():
            warm[name].copy_(tensor)
        return _nothing_left

    return save


def _waypost_state(state: dict[str, Any], _: str, uri: str) -> Callable[[int], Callable[[], object]]:
    from waypost import Checkpoints

    checkpoints: Any = Checkpoints(uri, attempt=1)
    return lambda number: checkpoints.save(state, step=number).result


def _waypost_folder(
    state: dict[str, Any], path: str, uri: str, *, immutable: bool = False
) -> Callable[[int], Callable[[], object]]:
    from waypost import Checkpoints

    checkpoints = Checkpoints(uri, attempt=1)
    Path(path).mkdir()
    _write_parts(state, Path(path))
    return lambda number: checkpoints.save(path, step=number, immutable=immutable).result


def _write_parts(state: dict[str, Any], folder: Path) -> None:
    """Replace each of sixteen files by a new one, as programs do that may be killed any time."""
    names = list(state)
    for part in range(16):
        new, path = folder / "new.pt", folder / f"part-{part}.pt"
        torch.save({name: state[name] for name in names[part::16]}, new)
        new.rename(path)


def _dcp(state: dict[str, Any], path: str, _: str) -> Callable[[int], Callable[[], object]]:
    import torch.distributed as dist
    from torch.distributed import checkpoint

    dist.init_process_group("gloo", init_method=f"file://{path}-rendezvous", rank=0, world_size=1)

    def save(number: int) -> Callable[[], object]:
        shutil.rmtree(f"{path}-{number - 1}", ignore_errors=True)
        result: Callable[[], object] = checkpoint.async_save(state, checkpoint_id=f"{path}-{number}").result
        return result

    return save


def _orbax(state: dict[str, Any], path: str, _: str) -> Callable[[int], Callable[[], object]]:
    import orbax.checkpoint as orbax

    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    saver = orbax.AsyncCheckpointer(orbax.PyTreeCheckpointHandler())

    def save(number: int) -> Callable[[], object]:
        saver.save(os.path.abspath(f"{path}-{number}"), args=orbax.args.PyTreeSave(arrays))
        wait: Callable[[], object] = saver.wait_until_finished
        return wait

    return save


_SAVES: dict[str, Callable[[dict[str, Any], str, str], Callable[[int], Callable[[], object]]]] = {
    "torch.save": _torch_save,
    "copy": _copy,
    "state": _waypost_state,
    "folder": _waypost_folder,
    "immutable": functools.partial(_waypost_folder, immutable=True),
    "dcp": _dcp,
    "orbax": _orbax,
}


def back(what: str, source: str, path: str, mebibytes: int) -> None:
    into = {name: torch.zeros_like(tensor) for name, tensor in tensors(mebibytes).items()}
    restore = _BACK[what](source, path)
    with timed():
        restore(into)


def _back_by_waypost(source: str, _: str) -> Callable[[dict[str, Any]], None]:
    from waypost import Checkpoints

    checkpoints: Any = Checkpoints(source, attempt=None)

    def restore(into: dict[str, Any]) -> None:
        checkpoints.restore_state(into={"model": into})

    return restore


def _back_by_s3fs(source: str, path: str) -> Callable[[dict[str, Any]], None]:
    import s3fs

    system = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    system.connect()

    def restore(into: dict[str, Any]) -> None:
        system.get(source, path)
        _copy_into(into, torch.load(path))

    return restore


def _back_by_obstore(source: str, _: str) -> Callable[[dict[str, Any]], None]:
    import obstore
    from obstore.store import S3Store

    bucket, _, key = source.partition("/")
    store = S3Store(bucket, client_options={"allow_http": True})

    def restore(into: dict[str, Any]) -> None:
        _copy_into(into, torch.load(io.BytesIO(obstore.get(store, key).bytes())))

    return restore


def _copy_into(into: dict[str, Any], loaded: dict[str, Any]) -> None:
    for name, tensor in loaded["model"].items():
        into[name].copy_(tensor)


_BACK = {"waypost": _back_by_waypost, "s3fs": _back_by_s3fs, "obstore": _back_by_obstore}


def put_state(uri: str, mebibytes: int) -> None:
    from waypost import Checkpoints

    checkpoints: Any = Checkpoints(uri, attempt=1)
    with checkpoints, timed():
        checkpoints.save({"model": tensors(mebibytes)}, step=1, wait=True)


def main(verb: str, *arguments: str) -> None:
    match verb, arguments:
        case "make", (folder, mebibytes):
            with timed():
                make(folder, int(mebibytes))
        case "block", (what, path, uri, mebibytes):
            block(what, path, uri, int(mebibytes))
        case "back", (what, source, path, mebibytes):
            back(what, source, path, int(mebibytes))
        case "put", (uri, mebibytes):
            put_state(uri, int(mebibytes))
        case _:
            raise SystemExit(f"through_torch: don't know {verb} {arguments}")


if __name__ == "__main__":
    main(*sys.argv[1:])
