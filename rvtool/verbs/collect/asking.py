"""Running the fetcher: in a notebook too, with signals that let what is in flight come, and something to see."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from rich.console import Console

from rvtool.data.files import cache_folder
from rvtool.verbs.collect.display import Display
from rvtool.verbs.collect.fetching import Fetcher
from rvtool.verbs.collect.gathering import Gathering
from rvtool.verbs.collect.hosts import Question
from rvtool.verbs.collect.plan import Ask
from rvtool.verbs.collect.services import Service
from rvtool.verbs.collect.transport import Transport


def asker(sides: Mapping[str, Service], settings: Any, console: Console) -> Ask:
    """Return what asks the questions of the planning; Ctrl-C ends it."""

    def ask(questions: list[Question]) -> None:
        waiting = iter(questions)
        if run(_fetch(sides, settings, lambda: next(waiting, None), console)).draining:
            raise KeyboardInterrupt

    return ask


def fetch_images(gathering: Gathering, settings: Any, console: Console) -> Fetcher:
    """Fetch all images that are wanted; the first Ctrl-C lets what is in flight come, the second stops at once."""
    return run(_fetch(gathering.sides, settings, gathering.feed, console, gathering))


async def _fetch(
    sides: Mapping[str, Service],
    settings: Any,
    feed: Callable[[], Question | None],
    console: Console,
    gathering: Gathering | None = None,
) -> Fetcher:
    by_name = {service.name: service for service in sides.values()}
    async with Transport(settings.contact) as transport:
        fetcher = Fetcher(transport, by_name, settings, feed, cache_folder() / "replies")
        if gathering is not None:
            gathering.ask = fetcher.put
        with _interruptible(fetcher, console), Display(console, fetcher, gathering, settings):
            await fetcher.run()
    return fetcher


@contextlib.contextmanager
def _interruptible(fetcher: Fetcher, console: Console) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        if fetcher.draining and task is not None:
            task.cancel()
            return
        console.print("stopping: what is in flight may still come (Ctrl-C again stops at once)", style="yellow")
        fetcher.drain()

    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(number, stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def run(work: Coroutine[Any, Any, Fetcher]) -> Fetcher:
    """Run asynchronous work to its end, in a notebook too, where a loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            return asyncio.run(work)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
