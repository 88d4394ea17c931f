"""What a person sees while images are fetched: each host, each class, and the time left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rvtool.verbs.collect.estimate import duration
from rvtool.verbs.collect.fetching import Fetcher

EVERY_S = 0.25  # on a terminal
LINE_EVERY_S = 60.0  # in a log
FIRST_LINE_S = 5.0  # before the fetching


class Display:
    """A live table on a terminal, a line a minute elsewhere; before the fetching, a line when questions take long."""

    def __init__(self, console: Console, fetcher: Fetcher, gathering: Any, settings: Any) -> None:
        self.console, self.fetcher, self.gathering, self.settings = console, fetcher, gathering, settings
        self.began = time.monotonic()
        self.had_before = sum(gathering.had.values()) if gathering is not None else 0
        self._task: asyncio.Task[None] | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Display:
        if not self.console.quiet:
            if self.gathering is None:
                self._live = None
            if self._live is not None:
                self._live.start()
            showing = self._show() if self.gathering is not None else self._show_waiting()
            self._task = asyncio.get_running_loop().create_task(showing)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            if self._live is not None:
                self._live.stop()

    async def _show(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                if self._live is not None:
                    self._live.update(self.picture(), refresh=True)
                    await asyncio.sleep(EVERY_S)
                else:
                    await asyncio.sleep(LINE_EVERY_S)
                    self.console.print(self.line(), markup=False, highlight=False, soft_wrap=True)

    async def _show_waiting(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(FIRST_LINE_S)
            while True:
                for host in self.fetcher.hosts.values():
                    if host.origin != "file:":
                        said = f"waiting for {host.origin}: {self._state(host)}"
                        self.console.print(said, markup=False, highlight=False, soft_wrap=True)
                await asyncio.sleep(LINE_EVERY_S)

    def line(self) -> str:
        """Return how far it is, in a line."""
        had, wanted = self._had(), self._wanted()
        left = self._left_s(had, wanted)
        return f"{had} of {wanted} images, {self._rate(had):.1f}/s" + (f", {duration(left)} left" if left else "")

    def picture(self) -> Group:
        """Return how far it is, as tables of hosts and classes."""
        hosts = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("host", "requests/s", "in flight", "retries", "state"):
            hosts.add_column(heading, justify="left" if heading in ("host", "state") else "right")
        for host in self.fetcher.hosts.values():
            manners = host.manners
            flight = f"{manners.in_flight}/{manners.connections}"
            hosts.add_row(Text(host.origin), f"{manners.rate_per_s:.1f}", flight, str(host.retries), self._state(host))
        classes = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("class", "", "images", "missed"):
            classes.add_column(heading, justify="right" if heading in ("images", "missed") else "left")
        for label in sorted(self.gathering.left, key=str):
            had, wanted = self.gathering.had[label], self._wanted_of(label)
            bar = ProgressBar(total=max(wanted, 1), completed=had, width=30)
            classes.add_row(Text(label or "images"), bar, f"{had}/{wanted}", str(self.gathering.missed[label]))
        return Group(hosts, classes, Text(self.line()))

    def _state(self, host: Any) -> Text:
        if self.fetcher.draining:
            return Text("stopping", "yellow")
        pause = host.manners.pause_s
        if host.manners.state != "closed":
            return Text("down", "red")
        return Text(f"asked to wait {pause:.0f} s", "yellow") if pause > 0.5 else Text("well", "green")

    def _had(self) -> int:
        return sum(self.gathering.had.values())

    def _wanted_of(self, label: str | None) -> int:
        there = self.gathering.had[label] + self.gathering.left[label] + self.gathering.live[label]
        return there if self.settings.count is None else min(there, self.settings.count)

    def _wanted(self) -> int:
        return sum(map(self._wanted_of, self.gathering.left))

    def _rate(self, had: int) -> float:
        return (had - self.had_before) / max(time.monotonic() - self.began, 1e-3)

    def _left_s(self, had: int, wanted: int) -> float | None:
        rate = self._rate(had)
        return (wanted - had) / rate if rate > 0 else None
