"""The example of Flyte's documentation, with only its import lines changed, in a pod and on a laptop.

Its documentation divides with `//` today and divided with `/` before; both are run. With `/` and 10 iterations its
arithmetic never fails (10/3 is no whole number).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tests.unit.sdk.processes import Attempt, run_outside
from waypost.flyte import FlyteDataNotFoundException, FlyteRecoverableException, workflow

EXAMPLE = """
from waypost.flyte import current_context, task, workflow
from waypost.flyte import FlyteRecoverableException

RETRIES = 3

@task(retries=RETRIES)
def use_checkpoint(n_iterations: int) -> int:
    cp = current_context().checkpoint
    prev = cp.read()
    start = 0
    if prev:
        start = int(prev.decode())
    print("resumed at", start, flush=True)

    failure_interval = n_iterations {divided} RETRIES
    index = 0
    for index in range(start, n_iterations):
        if index > start and index % failure_interval == 0:
            raise FlyteRecoverableException(f"Failed at iteration {{index}}, failure_interval {{failure_interval}}.")
        cp.write(f"{{index + 1}}".encode())
    return index

@workflow
def example(n_iterations: int) -> int:
    return use_checkpoint(n_iterations=n_iterations)

if __name__ == "__main__":
    print(example(n_iterations={n}))
"""

RUNS = [
    ("/", 9, [0, 3, 6]),
    ("/", 12, [0, 4, 8]),
    ("/", 10, [0]),
    ("//", 9, [0, 3, 6]),
    ("//", 10, [0, 3, 6, 9]),
]


@pytest.mark.parametrize(("divided", "n", "resumed"), RUNS)
def test_on_a_laptop_the_example_finishes_within_its_retries(
    tmp_path: Path, divided: str, n: int, resumed: list[int]
) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE.format(divided=divided, n=n))
    done = run_outside(tmp_path, "example.py")
    assert done.code == 0, done
    assert done.out.split("\n") == [*(f"resumed at {start}" for start in resumed), str(n - 1), ""], done
    assert f"completed: {len(resumed)} attempt" in done.err


def test_in_pods_the_example_resumes_from_attempt_to_attempt(attempt: Attempt) -> None:
    code = EXAMPLE.format(divided="/", n=9)
    ends = []
    for number in (1, 2, 3):
        done = dataclasses.replace(attempt, number=number).run(code)
        ends.append((done.code, done.out))
    assert ends == [(75, "resumed at 0\n"), (75, "resumed at 3\n"), (0, "resumed at 6\n8\n")]


@pytest.mark.parametrize(("n", "starts"), [(9, [0, 3, 6]), (12, [0, 4, 8]), (10, [0])])
def test_our_own_example_tells_where_each_attempt_resumed(tmp_path: Path, n: int, starts: list[int]) -> None:
    example = Path(__file__).parents[3] / "examples" / "use_checkpoint.py"
    target = f"{example}:use_checkpoint"
    done = run_outside(tmp_path, "-m", "waypost.cli", "run", target, "--n-iterations", str(n))
    assert done.code == 0, done
    assert [int(number) for number in re.findall(r"(?:resuming|starting) at iteration (\d+)", done.out)] == starts
    assert done.out.endswith(f"finished at iteration {n - 1}\n")
    assert f"result: {n - 1}" in done.err


def test_workflow_leaves_a_function_as_it_is() -> None:
    def flow() -> int:
        return 3

    assert workflow(flow) is flow
    assert workflow()(flow) is flow


def test_flytes_exceptions_can_be_caught_as_before() -> None:
    with pytest.raises(FlyteRecoverableException, match="again"):
        raise FlyteRecoverableException("again")
    assert issubclass(FlyteDataNotFoundException, ValueError)
