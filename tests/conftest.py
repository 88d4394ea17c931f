"""Shared fixtures: where the real data lies, small made-up data, and a cache that no test shares with a person."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # how long an example takes depends on who else computes
settings.load_profile("shared machine")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does, before torch is loaded
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the real data where it is missing."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="the real data (../shared/data) is not beside this checkout")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout."""
    return SHARED


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep packs and runs away from the user's."""
    monkeypatch.setenv("RVTOOL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("RVTOOL_RUN_PATH", raising=False)


@pytest.fixture
def blobs(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of two classes that anything can tell apart: one blob, or two."""

    def make(count: int = 40, size: int = 24, name: str = "blobs") -> Path:
        from PIL import Image

        folder = tmp_path / name
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:size, :size]
        for number in range(count):
            kind = ("one", "two")[number % 2]
            (folder / kind).mkdir(parents=True, exist_ok=True)
            centres = [(0, 0)] if kind == "one" else [(-size / 5, 0), (size / 5, 0)]
            turn = rng.uniform(0, np.pi)
            sky = np.zeros((size, size))
            for along, _ in centres:
                cx, cy = size / 2 + along * np.cos(turn), size / 2 + along * np.sin(turn)
                sky += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 4)
            noisy = 200 * sky / sky.max() + rng.uniform(0, 20, sky.shape)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / kind / f"{number:03d}.png")
        return folder

    return make
