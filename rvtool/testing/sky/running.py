"""The server in a process of its own, and lists of targets in its sky, for tests and measurements."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from rvtool.kinds import Box
from rvtool.testing.sky.server import Settings
from rvtool.testing.sky.sky import RADIO_GALAXIES, Sky, Thing


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    url: str

    def stats(self) -> dict[str, Any]:
        """Return the counts (`rvtool.testing.sky.server.Stats`); the keys of ``statuses`` are strings."""
        return self._ask("/stats")

    def reset(self) -> None:
        """Count from nothing."""
        self._ask("/stats/reset", b"")

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, body, timeout=10) as reply:
            return json.load(reply)


@contextmanager
def sky_server(**settings: Any) -> Iterator[Running]:
    """Run the server (`rvtool.testing.sky.server.Settings`) in a process of its own, until the block ends."""
    command = [sys.executable, "-m", "rvtool.testing.sky", "--tied", *_options(Settings(**settings))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()  # printed once it listens
            if not url:
                raise RuntimeError(f"the server has not started: {' '.join(command)}")
            yield Running(url)
        finally:
            process.kill()


def _options(settings: Settings) -> list[str]:
    options = [
        f"--seed={settings.seed}",
        f"--latency={settings.latency_s[0]},{settings.latency_s[1]}",
        f"--faults={settings.faults}",
        f"--limit={settings.limit_per_s}",
        *(f"--fault={name}" for name in settings.names),
        *(f"--down={path}" for path in settings.down),
    ]
    return [*options, "--every"] if settings.every else options


def targets_csv(
    path: Path, sky: Sky, count: int, classes: Sequence[str] = RADIO_GALAXIES, box: Box | None = None
) -> list[Thing]:
    """Write `count` things of each class into a file of targets (``id,ra_deg,dec_deg,label``), and return them.

    The classes take turns, so that the beginning of the file has as many of each.
    """
    things = list(chain(*zip(*(sky.catalogue(label, count, box) for label in classes), strict=True)))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "ra_deg", "dec_deg", "label"))
        writer.writerows((thing.name, thing.ra_deg, thing.dec_deg, thing.label) for thing in things)
    return things
