"""`@waypost.task`: the function that one CheckpointedTask runs.

Calling a task function is running it. Under the contract (in a pod, or as a child of `waypost run`) that is exactly
one attempt, in this process; without it, it is a local run with real child processes, retries and resuming, whose
value comes back to the caller. `retries=` rules local runs only: in a pod the task's spec decides.

This module stays light, and loads what runs an attempt when one runs: the package binds the name `waypost.task` to
the decorator by importing this module, and the operator imports the package.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar, overload

from waypost.attempt import Contract
from waypost.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")


class TaskFunction(Generic[P, R]):
    """A function decorated by `@waypost.task`; call it to run it."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], retries: int) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.retries = retries
        """How many times in a row a local run repeats it without progress."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it: one attempt under the contract, a local run with retries without.

        Raises what the function raises, and in an attempt the WaypostErrors of the store; after a stop request it
        ends with StopRequested instead of returning.
        """
        inspect.signature(self.function).bind(*args, **kwargs)  # a wrong call is the caller's mistake, not an attempt
        if Contract.from_env() is None:
            from waypost.local.call import run_locally

            return run_locally(self, *args, **kwargs)
        from waypost.execution import run_attempt

        return run_attempt(self, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<waypost.task {self.__module__}.{self.__qualname__}, retries={self.retries}>"


@overload
def task(function: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(*, retries: int = 0) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...


def task(
    function: Callable[P, R] | None = None, /, *, retries: int = 0
) -> TaskFunction[P, R] | Callable[[Callable[P, R]], TaskFunction[P, R]]:
    """Decorate the function that a CheckpointedTask runs.

    `retries` is for local runs: how often an attempt that ended in an exception is repeated, counted since the last
    progress. Raises ConfigurationError for retries below 0 and for functions that can't be run as one attempt.
    """
    if type(retries) is not int or retries < 0:
        raise ConfigurationError(f"@task(retries={retries!r}): retries has to be a whole number, 0 or more")

    def decorate(target: Callable[P, R]) -> TaskFunction[P, R]:
        if isinstance(target, TaskFunction) or not callable(target):
            raise ConfigurationError(f"@task decorates a plain function, not {target!r}")
        if (
            inspect.iscoroutinefunction(target)
            or inspect.isgeneratorfunction(target)
            or inspect.isasyncgenfunction(target)
        ):
            raise ConfigurationError(
                f"@task on {target.__qualname__}: calling it only makes a coroutine or generator, and its end would "
                "look like completion; decorate a plain function that runs it (asyncio.run(...), a loop)"
            )
        return TaskFunction(target, retries)

    return decorate if function is None else decorate(function)
