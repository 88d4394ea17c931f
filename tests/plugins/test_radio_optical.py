"""The radio-optical simulator: light and radio flux are what its columns say, and both lie on one piece of sky."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from rvtool.errors import ConfigError
from rvtool.kinds import Batch, Beam
from rvtool.plugins import component
from rvtool_plugins.simulators.radio_optical import CLASSES, RadioOpticalConfig, cosmology, population
from rvtool_plugins.simulators.radio_optical.shapes import DISC_WIDTHS, NODES_DISC, WIDTHS, Shapes, sersic
from rvtool_plugins.simulators.radio_optical.simulator import RadioOptical
from rvtool_plugins.simulators.radio_optical.sky import FWHM, BeamNoise, Blobs, Grid

CPU = torch.device("cpu")
QUIET: dict[str, Any] = {"rms_jy_beam": 0.0, "sky_rms_nmgy": 0.0, "field_per_arcmin2": 0.0}


def simulate(indices: int | torch.Tensor, seed: int = 0, **settings: Any) -> Batch:
    indices = torch.arange(indices) if isinstance(indices, int) else indices
    return RadioOptical(RadioOpticalConfig(**settings)).simulate(indices, seed, CPU)


def middles(size: int, pixel_arcsec: float) -> torch.Tensor:
    return (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * pixel_arcsec


def centroids(images: torch.Tensor, pixel_arcsec: float) -> torch.Tensor:
    """Return the mean position of the light of ``(B, H, W)``: x and y from the middle of the field, arcsec."""
    at, images = middles(images.shape[1], pixel_arcsec), images.double()
    moments = torch.stack([(images * at).sum((1, 2)), (images * at[:, None]).sum((1, 2))], 1)
    return moments / images.sum((1, 2))[:, None]


def axes(images: torch.Tensor) -> torch.Tensor:
    """Return the position angle, north to east, of the largest moment of ``(B, H, W)``, deg."""
    at, centre = middles(images.shape[1], 1.0), centroids(images, 1.0)
    x, y = at[None, None, :] - centre[:, 0, None, None], at[None, :, None] - centre[:, 1, None, None]
    images = images.double()
    xx, yy, xy = ((images * product).sum((1, 2)) for product in (x * x, y * y, x * y))
    return torch.rad2deg(0.5 * torch.atan2(-2 * xy, yy - xx))


def between_axes(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.remainder(a - b + 90, 180) - 90


# ---------------------------------------------------------------- contract


def test_is_found_by_name_and_tells_both_sides():
    made = component("simulator", "radio-optical")
    built = made.load()(made.configure({"size": 32, "bands": "i,g", "target_pixel_arcsec": 0.9}))
    image, target = built.info.image, built.info.target
    assert built.info.classes == CLASSES
    assert (image.unit, image.pixel_arcsec, image.beam) == ("Jy/beam", 1.8, Beam(5.4, 5.4))
    assert (target.channels, target.width, target.unit, target.pixel_arcsec) == (2, 64, "nanomaggy", 0.9)
    batch = built.simulate(torch.tensor([5, 2, 9]), 0, CPU)
    assert batch["image"].shape == (3, 1, 32, 32)
    assert batch["target"].shape == (3, 2, 64, 64)
    assert batch["label"].tolist() == [2, 2, 0]
    # channels are the bands in the order asked for, whatever else is asked for
    alone = simulate(torch.tensor([5, 2, 9]), size=32, bands="g", target_pixel_arcsec=0.9)
    torch.testing.assert_close(batch["target"][:, 1:], alone["target"])


def test_an_index_has_one_pair_whatever_the_batch():
    made = RadioOptical(RadioOpticalConfig(size=24, bands="g,r"))
    indices = torch.arange(12)
    whole = made.simulate(indices, 3, CPU)
    backwards = made.simulate(indices.flip(0), 3, CPU)
    alone = [made.simulate(indices[i : i + 1], 3, CPU) for i in range(12)]
    for name, values in whole.items():
        torch.testing.assert_close(values, backwards[name].flip(0))
        torch.testing.assert_close(values, torch.cat([one[name] for one in alone]))
    assert not torch.equal(whole["image"], made.simulate(indices, 4, CPU)["image"])


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"classes": "spiral,blazar"}, "no class is named 'blazar'"),
        ({"bands": "r,r"}, "a band is named twice"),
        ({"bands": "z"}, "no band is named 'z'"),
        ({"target_pixel_arcsec": 0.7}, "whole pixels"),
        ({"target_pixel_arcsec": 20}, "whole pixels"),
        ({"beam_arcsec": 3.0}, "two pixels"),
        ({"offset_arcsec": 100}, "eighth"),
        ({"size": 2048, "field_per_arcmin2": 20}, "unrelated sources"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(settings: dict[str, Any], what: str):
    made = component("simulator", "radio-optical")
    with pytest.raises(ConfigError, match=what):
        made.load()(made.configure(settings))


# ---------------------------------------------------------------- what is measured in the images


def test_light_and_flux_are_those_of_the_columns():
    batch = simulate(90, **QUIET, size=160, bands="g,r,i", las_max_arcsec=80, target_pixel_arcsec=3.6)
    inside = batch["radius_arcsec"] < 15  # all of the others' light does not fit
    assert int(inside.sum()) > 60
    for channel, band in enumerate("gri"):
        measured = 22.5 - 2.5 * torch.log10(batch["target"][:, channel].double().sum((1, 2)))
        torch.testing.assert_close(measured[inside], batch[f"{band}_mag"][inside].double(), rtol=0, atol=0.01)
    beam_px = math.pi / 4 / math.log(2) * (5.4 / 1.8) ** 2
    flux = batch["image"].double().sum((1, 2, 3)) / beam_px
    torch.testing.assert_close(flux[inside], batch["flux_jy"][inside].double(), rtol=3e-3, atol=0)


@pytest.mark.parametrize("target_pixel", [1.8, 0.9, 0.45])
def test_both_grids_show_one_field(target_pixel: float):
    settings = {**QUIET, "classes": "quasar", "size": 48, "offset_arcsec": 6.0}
    batch = simulate(30, **settings, target_pixel_arcsec=target_pixel)
    bright = batch["nucleus_fraction"] > 0.9  # a host's faint light may reach over the edge
    offset = torch.stack([batch["offset_x_arcsec"], batch["offset_y_arcsec"]], 1).double()
    found = centroids(batch["target"][:, 0], target_pixel)
    assert float((found - offset)[bright].abs().max()) < 0.1 * target_pixel


def test_core_and_nucleus_coincide():
    batch = simulate(400, **QUIET, size=32, classes="quasar", offset_arcsec=6.0, target_pixel_arcsec=0.9)
    alone = (batch["core_fraction"] > 0.95) & (batch["nucleus_fraction"] > 0.9)
    assert int(alone.sum()) > 5
    apart = centroids(batch["image"][alone, 0], 1.8) - centroids(batch["target"][alone, 0], 0.9)
    assert float(apart.abs().median()) < 0.09  # a tenth of an optical pixel; what remains of lobes and host is lopsided
    assert float(apart.abs().max()) < 0.18


def test_angles_count_from_north_to_east_in_both_images():
    still = {**QUIET, "offset_arcsec": 0.0, "target_pixel_arcsec": 0.9}
    spiral = simulate(150, **still, classes="spiral")
    flat = (spiral["axis_ratio"] < 0.5) & (spiral["radius_arcsec"] < 12)
    for name, least in (("image", 8.0), ("target", 5.0)):  # knots turn the axis a little
        error = between_axes(axes(spiral[name][flat, 0]), spiral["position_angle_deg"][flat])
        assert float(error.abs().median()) < least
    elliptical = simulate(60, **still, classes="elliptical")
    long = elliptical["las_arcsec"] > 40
    error = between_axes(axes(elliptical["image"][long, 0]), elliptical["radio_angle_deg"][long])
    assert float(error.abs().median()) < 5
    flat = (elliptical["axis_ratio"] < 0.8) & (elliptical["radius_arcsec"] < 5)
    error = between_axes(axes(elliptical["target"][flat, 0]), elliptical["position_angle_deg"][flat])
    assert float(error.abs().max()) < 2


@pytest.mark.parametrize("scatter", [0.0, 20.0])
def test_jets_scatter_about_the_minor_axis_as_set(scatter: float):
    batch = simulate(1500, **QUIET, size=16, classes="elliptical", alignment_scatter_deg=scatter, offset_arcsec=0.0)
    from_minor = between_axes(batch["radio_angle_deg"], batch["position_angle_deg"] + 90)
    torch.testing.assert_close(from_minor, batch["misalignment_deg"], rtol=0, atol=1e-3)
    assert float(from_minor.std()) == pytest.approx(scatter, rel=0.06, abs=1e-3)
    assert abs(float(from_minor.mean())) < 2


def test_noise_is_that_of_both_surveys():
    noise = BeamNoise(Grid(48, 1.8, CPU), 5.4, CPU)(1.5e-4, 0, torch.arange(400), 0)[:, 0].double()
    assert float(noise.std()) == pytest.approx(1.5e-4, rel=0.01)
    for step in (1, 2, 3):  # the correlation of a map's noise is its beam
        correlation = float((noise[:, :, step:] * noise[:, :, :-step]).mean()) / 1.5e-4**2
        assert correlation == pytest.approx(math.exp(-0.5 * (step * 1.8 * FWHM / 5.4) ** 2), abs=0.02)
    settings = {"classes": "quasar", "size": 32, "bands": "g,r,i", "field_per_arcmin2": 0.0}
    target = (
        simulate(20, **settings, target_pixel_arcsec=0.9)["target"]
        - simulate(20, **settings, target_pixel_arcsec=0.9, sky_rms_nmgy=0.0)["target"]
    )
    for channel, part in enumerate((0.62, 1.0, 1.5)):
        assert float(target[:, channel].std()) == pytest.approx(0.07 * 0.9 * part, rel=0.02)


def test_unrelated_sources_are_as_many_as_set():
    settings = {**QUIET, "size": 32, "classes": "quasar", "bands": "r"}
    batch = simulate(600, **settings | {"field_per_arcmin2": 4.0})
    assert float(batch["field_sources"].float().mean()) == pytest.approx(4 * (32 * 1.8 / 60) ** 2, rel=0.05)
    more = batch["target"].sum((1, 2, 3)) - simulate(600, **settings)["target"].sum((1, 2, 3))
    assert float(more[batch["field_sources"] == 0].abs().max()) == 0
    # of N(<m) ~ 10^(0.3 m) half are within 1 mag of the faintest, r = 21: 4 nanomaggies; a few lie on the edge
    assert float(more[batch["field_sources"] == 1].median()) == pytest.approx(8.0, rel=0.35)


def test_faint_fluxes_are_left_out_not_piled_up():
    batch = simulate(600, size=32, snr_min=30.0, classes="spiral")
    assert float(batch["snr"].min()) >= 30 * 0.999
    assert float((batch["snr"] < 30.03).float().mean()) < 0.05
    assert bool(torch.isfinite(simulate(6, size=32, snr_min=1e9)["image"]).all())


# ---------------------------------------------------------------- what it is made of


@pytest.mark.parametrize(("index", "b"), [(1.0, 1.6783), (2.0, 3.6721), (4.0, 7.6693)])
def test_gaussians_make_a_sersic_profile(index: float, b: float):
    widths = DISC_WIDTHS if index == 1 else WIDTHS
    radius = np.geomspace(0.1, 3, 40)
    made = (sersic(index, widths) * np.exp(-0.5 * (radius[:, None] / widths) ** 2) / widths**2).sum(1)
    ratio = made / np.exp(-b * radius ** (1 / index))
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.06


def test_a_disc_is_an_ellipse_without_beads():
    disc = Shapes(CPU).disc(torch.tensor([20.0]), torch.tensor([0.25]), torch.tensor([90.0]))
    assert disc.x.shape[1] == len(DISC_WIDTHS) * NODES_DISC
    image = Grid(200, 1.0, CPU).per_pixel(disc, (1.3,))[0, 0].double()
    along, across = image.sum(0), image.sum(1)  # position angle 90: the major axis lies along the rows
    at = middles(200, 1.0)
    ratio = ((across * at**2).sum() / (along * at**2).sum()).sqrt()
    assert float(ratio) == pytest.approx(0.25, rel=0.02)  # the seeing adds a little
    assert float(image.sum()) == pytest.approx(1.0, abs=2e-3)
    profile = image[100, 100:160]
    assert bool((profile.diff() < 0).all())


def test_a_star_counts_what_falls_into_each_pixel():
    star = Blobs(*torch.tensor([[[0.37]], [[-0.21]], [[0.0]]]), torch.ones(1, 1, 1))
    image = Grid(16, 1.8, CPU).per_pixel(star, (1.3,))[0, 0].double()
    edges = (np.arange(17) - 8) * 1.8
    x, y = (np.diff(stats.norm.cdf(edges, at, 1.3 / FWHM)) for at in (0.37, -0.21))
    np.testing.assert_allclose(image.numpy(), y[:, None] * x, atol=1e-6)


def test_distances_are_those_of_the_standard_model():
    redshift = np.array([0.01, 0.1, 0.5, 2.0])
    steps = (np.arange(4000) + 0.5) / 4000 * redshift[:, None]
    comoving = 299792.458 / 70 * redshift * np.mean((0.3 * (1 + steps) ** 3 + 0.7) ** -0.5, axis=1)
    found = torch.tensor(redshift)
    np.testing.assert_allclose(cosmology.luminosity_distance_mpc(found), comoving * (1 + redshift), rtol=4e-3)
    scale = comoving / (1 + redshift) * 1000 * math.pi / 648000
    np.testing.assert_allclose(cosmology.kpc_per_arcsec(found), scale, rtol=4e-3)


def test_normal_numbers_are_cut_not_piled_up():
    probability = (torch.arange(4000) + 0.5) / 4000
    drawn = population.normal(probability, 1.0, 2.0, 0.0, torch.tensor(4.0)).numpy()
    assert stats.kstest(drawn, stats.truncnorm(-0.5, 1.5, 1.0, 2.0).cdf).pvalue > 0.99
    assert population.normal(probability[:1], 0.0, 1.0, 1e3).item() == 1e3
