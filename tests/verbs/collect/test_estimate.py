"""What a collection would fetch, told before it does."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from rvtool.kinds import SourceInfo
from rvtool.verbs.collect import Settings
from rvtool.verbs.collect.estimate import duration, tell_estimate
from rvtool.verbs.collect.journal import OUTSIDE, PENDING
from rvtool.verbs.collect.services import Service


def estimate(**settings):
    info = SourceInfo("https://example.org", pixel_arcsec=6.0, field_arcmin=1.0, max_rate_per_s=2.0)
    sides = {"image": Service("stars", SimpleNamespace(info=info))}
    journal = SimpleNamespace(counts=lambda: {("[b]FRI", PENDING): 5, ("[b]FRI", OUTSIDE): 1, (None, PENDING): 90})
    told = StringIO()
    out = Path("d[red]x")
    return tell_estimate(journal, sides, Settings(**settings), out, Console(file=told, width=200)), told.getvalue()


def test_what_would_be_fetched():
    result, told = estimate(count=20)
    assert (result["images"], result["seconds"]) == (25, 12.5)
    assert result["bytes"] == 25 * (10 * 10 * 4 + 8640)
    assert "25 images from stars" in told
    assert "about 226 kB, 12 s at least at the polite rate" in told
    assert estimate()[0]["images"] == 95


def test_names_are_told_as_they_are():
    told = estimate()[1]
    assert "into d[red]x" in told
    assert "[b]FRI" in told


@pytest.mark.parametrize(
    ("seconds", "said"), [(59, "59 s"), (43 * 60, "43 min"), (7500, "2 h 05 min"), (3.1 * 86400, "3.1 days")]
)
def test_times_for_people(seconds, said):
    assert duration(seconds) == said
