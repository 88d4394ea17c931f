"""Whole collections against the stand-in sky: what comes, what is asked, and that kills and faults lose nothing."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError, SourceError
from rvtool.testing.sky import Sky, sky_server, targets_csv
from rvtool.verbs.collect import Settings, run

CLASSES = ("FRI", "FRII", "Bent", "Compact")
FAST = {"max_rate": 10_000.0, "max_connections": 16}


@pytest.fixture(scope="module")
def server():
    with sky_server(latency=(0.0, 0.005)) as running:
        yield running


@pytest.fixture
def sky(server):
    server.reset()
    return server


def targets(path, count, classes=CLASSES):
    targets_csv(path, Sky(), count, classes)
    return path


def collect(**settings):
    told = StringIO()
    fast = {} if "resume" in settings else FAST
    result = run(
        Settings(**{"source": "first", **fast, **settings}) if fast else Settings(**settings),
        Console(file=told, width=300),
    )
    return result, told.getvalue()


def test_every_target_becomes_a_valid_image_with_its_provenance(tmp_path, sky):
    file = targets(tmp_path / "t.csv", 40)
    result, told = collect(targets=file, out=tmp_path / "d", base_url=(sky.url,), larger="keep")
    assert (result["images"], result["requests"], result["failures"]) == (40, 40, [])
    dataset = open_dataset(tmp_path / "d")
    assert dataset.classes("label") == tuple(sorted(CLASSES))
    assert dataset.info["image"]["unit"].upper() == "JY/BEAM"
    assert dataset.info["licence"]
    with open(file) as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for number, name in enumerate(dataset.column("id")):
        image = dataset.image(number)
        assert image.data.shape == (1, 150, 150)
        ra, dec = float(rows[name]["ra_deg"]), float(rows[name]["dec_deg"])
        expected = Sky().cutout(ra, dec, 150, 150, 1.8, 5.4, 1.5e-4)
        assert np.corrcoef(image.data.ravel(), expected.ravel())[0, 1] > 0.9
    assert {"request", "fetched", "server_date", "release", "licence", "pixels_sha256"} <= set(
        dataset.table.column_names
    )
    assert (tmp_path / "d/CITATION.bib").read_text().count("Becker") == 1
    assert len(json.loads((tmp_path / "d/metadata.json").read_text())) == 40


def test_a_finished_collection_asks_nothing_more(tmp_path, sky):
    file = targets(tmp_path / "t.csv", 12)
    collect(targets=file, out=tmp_path / "d", base_url=(sky.url,))
    sky.reset()
    before = (tmp_path / "d/manifest.parquet").read_bytes()
    result, _ = collect(resume=tmp_path / "d", base_url=(sky.url,))
    again, _ = collect(targets=file, out=tmp_path / "d", base_url=(sky.url,))
    assert result["requests"] == again["requests"] == sky.stats()["requests"] == 0
    assert (tmp_path / "d/manifest.parquet").read_bytes() == before
