"""Runs many conversations at once in one thread: each is a generator that yields what it waits for.

asyncio would do the same and costs 30 ms more to import, seven times over on a two-core machine; it is also not in
Debian's python3-minimal.
"""
import heapq
import selectors
import socket
import time
from typing import Any, Callable, Generator, NamedTuple, Optional


class Wait(NamedTuple):
    """Until `sock` is ready for `events` (the generator gets True) or time.monotonic() is `deadline` (False).

    Without a socket it is only the time that is waited for.
    """

    sock: Optional[socket.socket]
    events: int
    deadline: float


Task = Generator[Wait, bool, Any]


class Scheduler:
    """Drives tasks, at most `concurrency` of them at a time, and hands out each result as soon as it is there."""

    def __init__(self, concurrency: int, done: Callable[[Any], None], broken: Callable[[str, Exception], None]) -> None:
        self.concurrency, self.done, self.broken = concurrency, done, broken
        self.selector = selectors.DefaultSelector()
        self.deadlines: list[tuple[float, int]] = []  # entries of a wait that is over are skipped
        self.active: dict[int, tuple[str, Task, Wait]] = {}
        self.running = 0
        self.serial = 0

    def run(self, tasks: list[tuple[str, Task]]) -> None:
        """Returns when every task has ended; `broken` gets those that raised, by their name."""
        queue = iter(tasks)
        while True:
            while self.running < self.concurrency and (item := next(queue, None)) is not None:
                self.running += 1
                self.step(*item, None)
            if not self.active:
                return
            while self.deadlines[0][1] not in self.active:
                heapq.heappop(self.deadlines)
            events = self.selector.select(max(0.0, self.deadlines[0][0] - time.monotonic()))
            now = time.monotonic()  # taken here: what got ready while others are served must not count as late
            for key, _ in events:
                self.resume(key.data, True)
            while self.deadlines and self.deadlines[0][0] <= now:
                serial = heapq.heappop(self.deadlines)[1]
                if serial in self.active:
                    self.resume(serial, False)

    def resume(self, serial: int, ready: bool) -> None:
        """Ends a wait and lets its task go on."""
        name, task, wait = self.active.pop(serial)
        if wait.sock:
            self.selector.unregister(wait.sock)
        self.step(name, task, ready)

    def step(self, name: str, task: Task, ready: Optional[bool]) -> None:
        """Runs a task up to its next wait or its end; None starts it."""
        try:
            wait = next(task) if ready is None else task.send(ready)
        except StopIteration as finished:
            self.running -= 1
            self.done(finished.value)
        except Exception as error:  # whatever it is, it costs this task and not the run
            self.running -= 1
            self.broken(name, error)
        else:
            self.serial += 1
            self.active[self.serial] = (name, task, wait)
            heapq.heappush(self.deadlines, (wait.deadline, self.serial))
            if wait.sock:
                self.selector.register(wait.sock, wait.events, self.serial)
