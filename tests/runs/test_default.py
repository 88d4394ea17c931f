"""The classifier that comes with rvtool."""

import csv
import json
from io import StringIO

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from rich.console import Console
from scipy.ndimage import gaussian_filter

from rvtool.runs.run import DEFAULT, load_run
from rvtool.verbs import predict


def ask(*paths, out, told=None):
    settings = predict.Settings(run="default", paths=paths, out=out, device="cpu")
    predict.run(settings, Console(file=told or StringIO(), width=200))
    with open(out, newline="") as stream:
        return list(csv.DictReader(stream))


def test_it_is_small_whole_and_tells_nothing_of_its_maker():
    run = load_run("default")
    assert sum(file.stat().st_size for file in DEFAULT.iterdir()) < 3e6
    assert run.data.classes == ("Bent", "Compact", "FRI", "FRII")
    assert run.data.image.pixel_arcsec == 1.8
    assert run.calibration is not None
    assert run.familiar is not None
    record = json.dumps(run.record)
    assert "/home" not in record
    assert "/tmp" not in record
    assert run.record["dataset"]["path"].startswith("FIRST four-class pool")


def test_a_point_is_compact_two_lobes_are_frii_and_a_ring_is_far(tmp_path):
    y, x = np.mgrid[:160, :160] - 79.5

    def blob(right, width):
        return np.exp(-((x - right) ** 2 + y**2) / (2 * width**2))

    bridge = 0.25 * blob(-4, 3) + 0.2 * blob(4, 3)
    shown = {
        "point": blob(0, 1.28),
        "lobes": blob(-9, 2.2) + 0.8 * blob(8, 2.4) + bridge - 0.03,
        "ring": np.exp(-((np.hypot(x, y) - 35) ** 2) / 18),
        "noise": np.random.default_rng(0).random((160, 160)),
    }
    for name, sky in shown.items():
        Image.fromarray((255 * np.clip(sky, 0, 1)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    told = StringIO()
    answers = {row["file"].rsplit("/", 1)[1]: row for row in ask(tmp_path, out=tmp_path / "p.csv", told=told)}
    assert float(answers["point.png"]["Compact"]) > 0.9
    assert float(answers["lobes.png"]["FRII"]) > 0.9
    assert float(answers["ring.png"]["distance"]) > 3 > 1 > float(answers["lobes.png"]["distance"])
    assert "1 of 4 images show nothing" in told.getvalue()  # of pure noise nothing is left
    assert answers["noise.png"]["distance"] == "inf"


def test_a_field_of_noise_is_said_to_show_nothing(tmp_path):
    random = np.random.default_rng(3)
    for number in range(6):
        noise = gaussian_filter(random.normal(size=(160, 160)), 1.28, mode="wrap")
        fits.writeto(tmp_path / f"{number}.fits", (1.5e-4 * noise / noise.std()).astype(np.float32))
    told = StringIO()
    answers = ask(tmp_path, out=tmp_path / "p.csv", told=told)
    assert "6 of 6 images show nothing 5 sigma above" in told.getvalue()
    assert {row["distance"] for row in answers} == {"inf"}


@pytest.mark.shared
def test_float_cutouts_are_answered_as_pictures_are(shared, tmp_path):
    """Of sources that it never trained on, most confident FRI and FRII are told apart on float FITS."""
    with open(shared / "first-fits" / "labels.csv", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if not r["pool_file"] and r["label"] in ("FRI", "FRII")]
    rows = rows[::3]
    answers = ask(*(shared / "first-fits" / row["file"] for row in rows), out=tmp_path / "p.csv")
    assert len(answers) == len(rows)
    right = [(float(a["FRI"]) > float(a["FRII"])) == (r["label"] == "FRI") for a, r in zip(answers, rows, strict=True)]
    assert np.mean(right) > 0.6
