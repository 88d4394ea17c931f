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


class Display:
    """A live table on a terminal, a line a minute elsewhere; nothing for the few questions before the fetching."""

    def __init__(self, console: Console, fetcher: Fetcher, gathering: Any, settings: Any) -> None:
        self.console, self.fetcher, self.gathering, self.settings = console, fetcher, gathering, settings
        self.began = time.monotonic()
        self.had_before = sum(gathering.had.values()) if gathering is not None else 0
        self._task: asyncio.Task[None] | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Display:
        if self.gathering is not None and not self.console.quiet:
            if self._live is not None:
                self._live.start()
            self._task = asyncio.get_running_loop().create_task(self._show())
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
        pause = host.manners.wait() or 0.0
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
