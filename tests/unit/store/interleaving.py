"""Several processes on one store, one request at a time, in an order that a seed decides.

Each process is a thread that runs the real code and stops ahead of every request until it is its turn; one that never
gets another turn was killed there. Requests may fail, lose their answers, or hang and be carried out any time later.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tests.unit.store.stepped import SteppedBackend, fail, lose_answer


class Killed(BaseException):
    """Ends the thread of a process that gets no more turns."""


class Actor:
    """One process: a function, run request by request."""

    def __init__(self, life: Callable[[], None]) -> None:
        self.done = False
        self.error: BaseException | None = None
        self._life = life
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def step(self) -> None:
        """Let it run up to its next request, or to its end."""
        self._turn.release()
        self._back.acquire()

    def kill(self) -> None:
        self._killed = True
        if not self.done:
            self.step()
        self.thread.join()

    def pause(self) -> None:
        """Called in the actor's own thread, ahead of a request."""
        self._back.release()
        self._turn.acquire()
        if self._killed:
            raise Killed

    def _run(self) -> None:
        self._turn.acquire()
        try:
            if not self._killed:
                self._life()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the schedule raises it
            self.error = error
        finally:
            self.done = True
            self._back.release()


class Schedule:
    """A seed's order of steps and faults."""

    def __init__(self, backend: SteppedBackend, seed: int, faults: float) -> None:
        self.backend, self.chance, self._faults = backend, random.Random(seed), faults
        self.actors: list[Actor] = []
        backend.before = self._before

    def add(self, life: Callable[[], None]) -> None:
        self.actors.append(Actor(life))

    def run(self, steps: int) -> None:
        """Up to `steps` steps; then everybody is killed where it stands. Raises what an actor raised."""
        for _ in range(steps):
            able = [actor for actor in self.actors if not actor.done]
            if not able:
                break
            if self.backend.hanging and self.chance.random() < 0.2:
                self.backend.hanging.append(self.backend.hanging.pop(self.chance.randrange(len(self.backend.hanging))))
                self.backend.deliver_one()
            # a burst lets one process overtake the others, which is where the interesting orders are
            actor = self.chance.choice(able)
            for _ in range(self.chance.choice((1, 1, 2, 8))):
                if not actor.done:
                    actor.step()
        for actor in self.actors:
            actor.kill()
        for actor in self.actors:
            if actor.error is not None:
                raise actor.error

    def _before(self, operation: str, key: str) -> None:
        me = next((actor for actor in self.actors if actor.thread is threading.current_thread()), None)
        if me is None:
            return
        me.pause()
        if self.chance.random() < self._faults:
            self.backend.plan(operation, key, self.chance.choice((fail, lose_answer, self.backend.hang)))
