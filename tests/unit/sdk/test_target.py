"""FILE:FUNCTION and its arguments: what can be run, with what, and one clear line for what can't."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from waypost.cli.run import run
from waypost.errors import ConfigurationError
from waypost.local import target
from waypost.task import TaskFunction, task

PROGRAM = """
import waypost

@waypost.task(retries=2)
def train(n: int):
    return n

def plain():
    pass

if __name__ == "__main__":
    raise AssertionError("the main part must stay quiet")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for programs, forgotten by the import system afterwards."""
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_task_function_is_found_by_file_and_name(folder: Path) -> None:
    (folder / "training_program.py").write_text(PROGRAM)
    found = target.load(f"{folder}/training_program.py:train")
    assert (found.__name__, found.retries, found.function(3)) == ("train", 2, 3)


def test_a_program_may_import_its_neighbour(folder: Path) -> None:
    (folder / "neighbour_of_program.py").write_text("n = 5")
    text = "import waypost\nfrom neighbour_of_program import n\n@waypost.task\ndef train():\n    return n\n"
    (folder / "program_with_neighbour.py").write_text(text)
    assert target.load(f"{folder}/program_with_neighbour.py:train").function() == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("training_program.py", "isn't FILE:FUNCTION"),
        (":train", "isn't FILE:FUNCTION"),
        ("nowhere.py:train", "no such file"),
        ("training_program.py:plain", "plain in .* isn't decorated by @waypost.task; task functions there: train"),
        ("training_program.py:trian", "trian in .* isn't there; task functions there: train"),
        ("json.py:train", "would hide the module 'json'"),
        ("my-program.py:train", "can't be a module's name"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(
    name: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("training_program.py", "json.py", "my-program.py"):
        (folder / file).write_text(PROGRAM)
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigurationError, match=message):
        target.load(name)


# --- Arguments ---------------------------------------------------------------------------------------------------
@task
def typed(  # type: ignore[no-untyped-def]  # a parameter without annotation takes text
    count: int, rate: float = 0.5, name: str = "x", fast: bool = False, folder: Path | None = None, plain="text"
) -> None:
    """Take one of each."""


def parse(function: TaskFunction[..., Any], *words: str) -> dict[str, Any]:
    positional, values = target.arguments(function, "waypost run", words)
    assert positional == []
    return values


def test_each_parameter_is_an_option_of_its_type() -> None:
    words = ("--count", "3", "--rate", "1e-3", "--name", "y", "--fast", "--folder", "/data", "--plain", "7")
    assert parse(typed, *words) == {
        "count": 3,
        "rate": 0.001,
        "name": "y",
        "fast": True,
        "folder": Path("/data"),
        "plain": "7",
    }


def test_what_is_left_out_has_the_functions_default() -> None:
    expected = {"count": -1, "rate": 0.5, "name": "x", "fast": False, "folder": None, "plain": "text"}
    assert parse(typed, "--count", "-1", "--no-fast") == expected


def test_underscores_are_dashes_and_positional_parameters_have_names_too() -> None:
    @task
    def counted(n_iterations: int, /, *, batch_size: int = 4) -> None: ...

    found = target.arguments(counted, "waypost run", ("--n-iterations", "9"))
    assert found == ([9], {"batch_size": 4})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Missing option '--count'"),
        (("--count", "three"), "'three' is not a valid integer"),
        (("--count", "3", "--cuont", "4"), "No such option"),
        (("--count", "3", "stray"), "unexpected extra argument"),
    ],
)
def test_wrong_arguments_are_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        parse(typed, *words)
    assert message in raised.value.format_message()


def test_a_parameter_that_a_command_line_cannot_give_is_named() -> None:
    @task
    def odd(table: dict[str, int]) -> None: ...

    with pytest.raises(ConfigurationError, match="'table' is annotated"):
        parse(odd)


def test_a_parameter_named_like_our_own_option_is_refused() -> None:
    @task
    def clash(checkpoint: str) -> None: ...

    with pytest.raises(ConfigurationError, match="name of an option of `waypost run`"):
        parse(clash)


def test_the_reserved_names_are_the_commands_options() -> None:
    options = {parameter.name for parameter in run.params if isinstance(parameter, click.Option)}
    assert options | {"help"} == set(target.RESERVED)


# --- The decorator -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("retries", [-1, 1.5, "3", None, True])
def test_retries_below_0_and_other_nonsense_are_refused(retries: Any) -> None:
    with pytest.raises(ConfigurationError, match="retries has to be a whole number, 0 or more"):
        task(retries=retries)


def test_functions_whose_call_does_not_run_them_are_refused() -> None:
    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    for function in (coroutine, generator):
        with pytest.raises(ConfigurationError, match="decorate a plain function that runs it"):
            task(function)


def test_a_decorated_function_keeps_its_name_and_words() -> None:
    assert (typed.__name__, typed.__doc__, typed.retries) == ("typed", "Take one of each.", 0)


def test_a_wrong_call_is_the_callers_mistake_and_no_attempt() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'count'"):
        typed()  # type: ignore[call-arg]  # the point of the test
