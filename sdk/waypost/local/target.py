"""FILE:FUNCTION: finding the task function that `waypost run` is told to run, and its arguments.

The file is loaded as `python FILE` would load it (its folder first on the path), but under its own name, so that
its `if __name__ == "__main__":` part stays quiet and what it pickles can be read again by the next attempt. Each
parameter of the function becomes an option by its annotation.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from waypost.errors import ConfigurationError
from waypost.task import TaskFunction

TYPES: Final[dict[object, click.ParamType[Any]]] = {
    int: click.INT,
    float: click.FLOAT,
    str: click.STRING,
    bool: click.BOOL,
    Path: click.Path(path_type=Path),
    inspect.Parameter.empty: click.STRING,
}

RESERVED: Final = frozenset({"checkpoint", "from_", "keep_last", "preempt_every", "kill", "help"})
"""The options of `waypost run` itself; a test holds them against the command."""


def load(target: str) -> TaskFunction[..., Any]:
    """Return the task function named FILE:FUNCTION; ConfigurationError tells what is wrong with the name."""
    file, colon, name = target.rpartition(":")
    if not colon or not file or not name:
        raise ConfigurationError(f"{target!r} isn't FILE:FUNCTION, as in examples/use_checkpoint.py:use_checkpoint")
    module = _load_file(Path(file))
    found = getattr(module, name, None)
    if not isinstance(found, TaskFunction):
        tasks = sorted(key for key, value in vars(module).items() if isinstance(value, TaskFunction))
        what = "isn't decorated by @waypost.task" if hasattr(module, name) else "isn't there"
        raise ConfigurationError(f"{name} in {file} {what}; task functions there: {', '.join(tasks) or 'none'}")
    return found


def _load_file(path: Path) -> types.ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"can't run {path}: there is no such file (looked from {Path.cwd()})")
    name = path.stem
    if not name.isidentifier():
        raise ConfigurationError(f"can't run {path}: {name!r} can't be a module's name; use letters, digits and _")
    if name in sys.modules or name in sys.stdlib_module_names:
        raise ConfigurationError(f"can't run {path}: it would hide the module {name!r}; give the file another name")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"can't run {path}: it isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def command(task: TaskFunction[..., Any], prefix: str) -> click.Command:
    """Return a click command whose options are the task function's parameters; `prefix` is how it was called."""
    hints = typing.get_type_hints(task.function)
    parameters = inspect.signature(task.function).parameters.values()
    options = [_option(task, parameter, hints.get(parameter.name, parameter.annotation)) for parameter in parameters]
    return click.Command(
        prefix,
        params=[option for option in options if option is not None],
        help=task.__doc__,
        epilog="The options of local runs: waypost run --help",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def arguments(task: TaskFunction[..., Any], prefix: str, words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Parse the words of the command line into the function's arguments; click's usage errors tell what is wrong."""
    with command(task, prefix).make_context(prefix, list(words)) as context:
        values = dict(context.params)
    parameters = inspect.signature(task.function).parameters.values()
    positional = [values.pop(each.name) for each in parameters if each.kind is each.POSITIONAL_ONLY]
    return positional, values


def _option(task: TaskFunction[..., Any], parameter: inspect.Parameter, annotation: object) -> click.Option | None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None  # nothing on a command line can name them
    if parameter.name in RESERVED:
        raise ConfigurationError(
            f"{task.__qualname__}: the parameter {parameter.name!r} has the name of an option of `waypost run` itself; "
            "give it another one"
        )
    kind = _plain(annotation)
    if kind not in TYPES:
        raise ConfigurationError(
            f"{task.__qualname__}: the parameter {parameter.name!r} is annotated {annotation!r}, which a command line "
            "can't give; use int, float, str, bool or pathlib.Path"
        )
    flag = "--" + parameter.name.strip("_").replace("_", "-")
    names = [f"{flag}/--no-{flag[2:]}" if kind is bool else flag, parameter.name]
    value_type = None if kind is bool else TYPES[kind]
    if parameter.default is parameter.empty:
        return click.Option(names, type=value_type, required=True)
    return click.Option(names, type=value_type, default=parameter.default, show_default=True)


def _plain(annotation: object) -> object:
    """`int | None` and `Optional[int]` are `int`: leaving the option out gives the default."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0]
    return annotation
