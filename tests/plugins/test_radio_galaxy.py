"""The radio-galaxy simulator: fluxes, noise, beam, angles and classes are what its columns say."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Batch, Beam, Simulator
from rvtool.plugins import component
from rvtool_plugins.simulators.radio_galaxy import RadioGalaxyConfig, priors
from rvtool_plugins.simulators.radio_galaxy.simulator import RadioGalaxy
from rvtool_plugins.simulators.radio_galaxy.sky import FWHM, Blobs, Sky

CPU = torch.device("cpu")
QUIET: dict[str, Any] = {"rms_jy_beam": 0.0, "field_sources_per_deg2": 0.0}


def simulator(**settings: Any) -> RadioGalaxy:
    return RadioGalaxy(RadioGalaxyConfig(**settings))


def simulate(count: int, seed: int = 0, **settings: Any) -> Batch:
    return simulator(**settings).simulate(torch.arange(count), seed, CPU)


def same(a: Batch, b: Batch) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- contract


def test_is_found_by_name_and_keeps_the_contract():
    made = component("simulator", "radio-galaxy")
    built = made.load()(made.configure({"size": 64, "classes": "FRII,Compact"}))
    assert isinstance(built, Simulator)
    assert built.info.classes == ("FRII", "Compact")
    assert (built.info.image.unit, built.info.image.pixel_arcsec) == ("Jy/beam", 1.8)
    assert built.info.image.beam == Beam(5.4, 5.4, 0.0)
    batch = built.simulate(torch.tensor([5, 2, 9]), 0, CPU)
    assert batch["image"].shape == (3, 1, 64, 64)
    assert batch["image"].dtype == torch.float32
    assert batch["label"].tolist() == [1, 0, 1]
    for name, values in batch.items():
        assert len(values) == 3, name
        assert bool(torch.isfinite(values).all()), name


@pytest.mark.parametrize("settings", [{"size": 56}, {"size": 61, "beam_minor_arcsec": 3.9, "beam_angle_deg": 30}])
def test_an_index_has_one_image_whatever_the_batch(settings: dict[str, Any]):
    made = simulator(**settings)
    indices = torch.arange(64)
    whole = made.simulate(indices, 3, CPU)
    alone = [made.simulate(indices[i : i + 1], 3, CPU) for i in range(64)]
    assert same(whole, {name: torch.cat([one[name] for one in alone]) for name in whole})
    backwards = made.simulate(indices.flip(0), 3, CPU)
    assert same(whole, {name: values.flip(0) for name, values in backwards.items()})


def test_threads_change_nothing():
    made, threads = simulator(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = made.simulate(torch.arange(24), 0, CPU)
        torch.set_num_threads(2)
        assert same(one, made.simulate(torch.arange(24), 0, CPU))
    finally:
        torch.set_num_threads(threads)


def test_seeds_and_indices_differ():
    a, b = simulate(8, seed=0), simulate(8, seed=1)
    assert not torch.equal(a["image"], b["image"])
    assert len(set(a["flux_jy"].tolist())) == 8


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"classes": "FRI,FRIII"}, "no class is named 'FRIII'"),
        ({"classes": "FRI,FRI"}, "named twice"),
        ({"pixel_arcsec": 4.8}, "two pixels"),
        ({"beam_minor_arcsec": 6.0}, "minor axis"),
        ({"flux_max_jy": 0.001}, "flux_min_jy"),
        ({"offset_arcsec": 100.0}, "eighth"),
        ({"las_min_arcsec": 90, "las_max_arcsec": 80}, "leave nothing"),
        ({"field_sources_per_deg2": 1e5, "size": 512}, "unrelated sources"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(settings: dict[str, Any], what: str):
    made = component("simulator", "radio-galaxy")
    with pytest.raises(ConfigError, match=what):
        made.load()(made.configure(settings))


# ---------------------------------------------------------------- physics


@pytest.mark.parametrize(
    "beam",
    [{}, {"beam_minor_arcsec": 4.0, "beam_angle_deg": 90.0}, {"beam_minor_arcsec": 3.7, "beam_angle_deg": -35.0}],
)
def test_flux_is_kept(beam: dict[str, float]):
    made = simulator(**QUIET, **beam, size=128, las_max_arcsec=60.0)
    batch = made.simulate(torch.arange(64), 0, CPU)
    area_px = math.pi / 4 / math.log(2) * made.beam.major_arcsec * made.beam.minor_arcsec / 1.8**2
    flux = batch["image"].double().sum((1, 2, 3)) / area_px
    torch.testing.assert_close(flux, batch["flux_jy"].double(), rtol=2e-3, atol=0.0)
    torch.testing.assert_close(batch["image"].amax((1, 2, 3)), batch["peak_jy_beam"])


@pytest.mark.parametrize("angle_deg", [0.0, 25.0, 90.0, -60.0])
def test_a_point_becomes_the_beam(angle_deg: float):
    beam = Beam(10.8, 5.4, angle_deg)
    sky = Sky(65, 1.8, beam, 1.0, CPU)
    middle, nothing, one = torch.tensor([[32.0]]), torch.zeros(1, 1), torch.ones(1, 1)
    image = sky.render(Blobs(middle, middle, nothing, one))[0].double()
    offset = torch.arange(65, dtype=torch.float64) - 32
    east, north = -offset[None, :] * 1.8, offset[:, None] * 1.8
    angle = math.radians(angle_deg)
    along, across = north * math.cos(angle) + east * math.sin(angle), north * math.sin(angle) - east * math.cos(angle)
    expected = torch.exp(-0.5 * FWHM**2 * ((along / 10.8) ** 2 + (across / 5.4) ** 2))
    assert float((image - expected).abs().max()) < 5e-4  # 1 Jy, a point: the peak is 1 Jy/beam


@pytest.mark.parametrize(
    ("beam", "wide"),
    [(Beam(5.4, 5.4), 1.0), (Beam(5.4, 5.4), 0.5**0.5), (Beam(10.8, 5.4, 30.0), 1.0), (Beam(9.0, 5.4, 90.0), 1.0)],
)
def test_noise_has_the_rms_and_the_correlation_of_the_beam(beam: Beam, wide: float):
    noise = Sky(64, 1.8, beam, wide, CPU).noise(1.5e-4, 0, torch.arange(1500), 0).double()
    # a beam is some 10 pixels, so 64 x 64 x 1500 pixels are 6e5 independent ones
    assert float(noise.std()) == pytest.approx(1.5e-4, rel=5e-3)
    by_pixel = noise.std(0)  # edges and corners as well as the middle: nothing is cut off, nothing wraps around
    assert float((by_pixel / 1.5e-4 - 1).abs().max()) < 0.1
    # the autocorrelation of a Gaussian kernel is a Gaussian sqrt(2) as wide
    angle = math.radians(beam.angle_deg)
    for dx, dy in ((1, 0), (0, 1), (2, 0), (0, 2), (2, 2), (2, -2), (0, 4)):
        a = noise[:, max(-dy, 0) : 64 - max(dy, 0), : 64 - dx]
        b = noise[:, max(dy, 0) : 64 + min(dy, 0), dx:]
        north, east = dy * 1.8, -dx * 1.8
        along = (north * math.cos(angle) + east * math.sin(angle)) / beam.major_arcsec
        across = (north * math.sin(angle) - east * math.cos(angle)) / beam.minor_arcsec
        expected = math.exp(-0.25 * (FWHM / wide) ** 2 * (along**2 + across**2))
        assert float((a * b).mean()) / 1.5e-4**2 == pytest.approx(expected, abs=0.02), (dx, dy)
    opposite = (noise[:, :, 0] * noise[:, :, -1]).mean() / 1.5e-4**2
    assert abs(float(opposite)) < 0.02


def test_noise_of_an_image_has_the_rms():
    batch = simulate(200, classes="Compact", field_sources_per_deg2=0.0, offset_arcsec=0.0)
    corner = batch["image"][:, 0, :50, :50]
    assert float(corner.std()) == pytest.approx(1.5e-4, rel=0.02)
    torch.testing.assert_close(batch["snr"], batch["peak_jy_beam"] / 1.5e-4)


def test_neighbours_are_as_many_and_as_bright_as_the_survey_has():
    settings: dict[str, Any] = {"size": 64, "rms_jy_beam": 0.0}
    batch = simulate(2000, **settings, field_sources_per_deg2=500.0)
    expected = 500.0 * (64 * 1.8 / 3600) ** 2
    assert float(batch["field_sources"].float().mean()) == pytest.approx(expected, rel=0.15)
    alone = simulate(2000, **settings, field_sources_per_deg2=0.0)
    peak = (batch["image"] - alone["image"]).amax((1, 2, 3))[batch["field_sources"] == 1]
    # half of the counts N(>S) ~ S^-0.85 above 1 mJy are above 2.26 mJy; a pixel may miss a peak by a few per cent
    assert float(peak.median()) == pytest.approx(2.26e-3, rel=0.15)
    assert float(peak.max()) < 0.1


# ---------------------------------------------------------------- shapes


def lobes(image: np.ndarray, core: np.ndarray) -> list[np.ndarray]:
    """Find the two brightest peaks away from the core: their positions from it, in pixels (x, y)."""
    peaks = np.argwhere((ndimage.maximum_filter(image, 5) == image) & (image > 0.05 * image.max()))
    from_core = [p[::-1] - core for p in peaks if np.hypot(*(p[::-1] - core)) > 5]
    brightness = [image[tuple(np.round(p + core).astype(int)[::-1])] for p in from_core]
    return [from_core[i] for i in np.argsort(brightness)[::-1][:2]]


def test_bending_angle_is_180_deg_minus_the_opening_angle():
    settings: dict[str, Any] = {**QUIET, "classes": "Bent", "angle_prior": "uniform"}
    batch = simulate(600, **settings, las_min_arcsec=90.0, las_max_arcsec=150.0)
    errors = []
    for row in range(600):
        if batch["fr_type"][row] != 2 or batch["bending_angle_deg"][row] > 120:
            continue  # an FRI's lobe is no peak of its own, and arms that lie on each other have one peak
        offset = np.array([batch["offset_x_arcsec"][row], batch["offset_y_arcsec"][row]]) / 1.8
        found = lobes(batch["image"][row, 0].numpy(), offset + 74.5)
        if len(found) == 2:
            cosine = found[0] @ found[1] / np.hypot(*found[0]) / np.hypot(*found[1])
            errors.append(180 - np.degrees(np.arccos(cosine)) - float(batch["bending_angle_deg"][row]))
    assert len(errors) > 100
    assert abs(np.median(errors)) < 3
    assert np.median(np.abs(errors)) < 6


def test_fri_is_darkened_and_frii_brightened_towards_the_edge():
    batch = simulate(400, **QUIET, classes="FRI,FRII", las_min_arcsec=60.0)
    ratio, fri = batch["fr_ratio"], batch["label"] == 0
    assert float(ratio[fri].max()) < 0.5 < float(ratio[~fri].min())
    assert bool((batch["fr_type"] == torch.where(fri, 1, 2)).all())
    # in the image: distance of the brightest pixels of the two halves outside the core, over the size
    measured = []
    for row in range(200):
        image = batch["image"][row, 0].numpy()
        core = np.array([batch["offset_x_arcsec"][row], batch["offset_y_arcsec"][row]]) / 1.8 + 74.5
        angle = math.radians(float(batch["position_angle_deg"][row]))
        y, x = np.indices(image.shape)
        along = -(x - core[0]) * math.sin(angle) + (y - core[1]) * math.cos(angle)
        far = np.hypot(x - core[0], y - core[1]) > 4
        place = [
            np.unravel_index(np.argmax(np.where(far & side, image, 0)), image.shape) for side in (along > 0, along < 0)
        ]
        apart = 1.8 * math.hypot(*(np.subtract(*place)))
        measured.append(apart / float(batch["las_arcsec"][row]))
    fri_ratio, frii_ratio = np.array(measured)[fri[:200].numpy()], np.array(measured)[~fri[:200].numpy()]
    assert (fri_ratio < 0.5).mean() > 0.8
    assert (frii_ratio > 0.5).mean() > 0.8


def test_compact_is_a_beam_and_stays_near_the_middle():
    batch = simulate(50, **QUIET, classes="Compact")
    concentration = batch["peak_jy_beam"] / batch["flux_jy"]
    assert float(concentration.min()) > 0.7
    assert bool((batch["bending_angle_deg"] == 0).all())


def test_position_angle_counts_from_north_to_east():
    batch = simulate(100, **QUIET, classes="FRII", straight_to_deg=0.0, las_min_arcsec=60.0)
    y, x = np.indices((150, 150)) - 74.5
    for row in range(100):
        image = batch["image"][row, 0].numpy()
        weights = image / image.sum()
        dx, dy = x - (weights * x).sum(), y - (weights * y).sum()
        # the axis along which the brightness has its largest moment, from +y (north) to -x (east)
        angle = 0.5 * math.atan2(-2 * (weights * dx * dy).sum(), (weights * (dy**2 - dx**2)).sum())
        error = (math.degrees(angle) - float(batch["position_angle_deg"][row]) + 90) % 180 - 90
        assert abs(error) < 15


# ---------------------------------------------------------------- priors


def test_observed_angles_have_the_percentiles_of_garon():
    batch = simulate(6000, size=32, classes="Bent", bent_from_deg=0.0, rms_jy_beam=0.0)
    angles = batch["bending_angle_deg"].numpy()
    for percent, expected in zip(priors.GARON_PERCENT[1:6], priors.GARON_DEG[1:6], strict=True):
        assert np.percentile(angles, percent) == pytest.approx(expected, rel=0.08, abs=0.2)


@pytest.mark.parametrize("prior", ["uniform", "observed"])
def test_angles_lie_in_the_range_of_their_class(prior: str):
    batch = simulate(4000, size=32, angle_prior=prior, rms_jy_beam=0.0)
    angles, label = batch["bending_angle_deg"], batch["label"]
    assert float(angles[label < 2].max()) <= 20 <= float(angles[label == 2].min()) + 1e-4
    if prior == "uniform":
        assert stats.kstest(angles[label == 2].numpy(), "uniform", (20, 160)).pvalue > 0.001


def test_faint_fluxes_are_left_out_not_piled_up():
    batch = simulate(4000, size=64, classes="FRI", flux_min_jy=0.001)
    assert float(batch["snr"].min()) >= 15 * 0.999
    assert float(((batch["snr"] - 15).abs() < 0.01).float().mean()) < 0.01
    free = simulate(4000, size=64, classes="FRI", flux_min_jy=0.001, snr_min=0.0)["flux_jy"].log()
    assert stats.kstest(free.numpy(), "uniform", (math.log(0.001), math.log(500))).pvalue > 0.001


def test_priors_of_a_table_replace_the_stated_ones(tmp_path: Path):
    rng = np.random.default_rng(0)
    with open(tmp_path / "labels.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "flux_mjy", "las_arcmin", "bending_angle_deg"])
        for _ in range(300):
            rows.writerow(["a.fits", "FRII", rng.uniform(200, 300), rng.uniform(0.7, 1.0), rng.uniform(30, 40)])
            rows.writerow(["b.fits", "FRI", "", "", ""])
    batch = simulate(400, classes="FRI,FRII", priors=str(tmp_path))
    frii = {name: values[batch["label"] == 1] for name, values in batch.items()}
    for name, low, high in (("flux_jy", 0.2, 0.3), ("las_arcsec", 42, 60), ("bending_angle_deg", 30, 40)):
        values = frii[name].numpy()
        assert low <= values.min() * 1.0001
        assert values.max() <= high * 1.0001
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.001
    assert float(batch["bending_angle_deg"][batch["label"] == 0].max()) <= 20  # no values: the stated ones stay


def test_priors_that_cannot_be_read_are_told(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        simulator(priors=str(tmp_path / "nothing.csv"))
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="none of the columns"):
        simulator(priors=str(tmp_path / "wrong.csv"))


@pytest.mark.shared
def test_priors_of_real_images(shared: Path):
    batch = simulate(200, priors=str(shared / "first-fits" / "labels.csv"))
    fri = batch["las_arcsec"][batch["label"] == 0]
    assert 40 < float(fri.median()) < 75  # the table's FRI that fit the image: 55 arcsec
