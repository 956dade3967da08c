"""An event loop in a thread of its own, so that synchronous tests and the demo can hold on to asynchronous witnesses.

A witness must go on watching while the test waits for something else, whatever the test does with its own loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import selectors
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
CLOSE_SECONDS = 10.0


class Background:
    """A running loop; `call` runs a coroutine on it and waits for its result, `spawn` doesn't wait."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self._own_descriptors = len(self._selector.get_map())
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Start a coroutine on the loop; its future belongs to the caller's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, _T], seconds: float = 30.0) -> _T:
        """Run a coroutine on the loop and return its result; TimeoutError after `seconds`."""
        return self.spawn(coroutine).result(seconds)

    def close(self) -> None:
        """Cancel what still runs, let it clean up, and end the thread."""
        self.call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # TLS connections close by a handshake that goes on after the session's close has returned.
        deadline = time.monotonic() + CLOSE_SECONDS
        while len(self._selector.get_map()) > self._own_descriptors and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
