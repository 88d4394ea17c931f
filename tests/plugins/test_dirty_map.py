"""What an interferometer makes of a sky: known beams of known coverage, fluxes, noise, and skies that are images."""

import math

import numpy as np
import pytest
import torch
from astropy.io import fits

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError
from rvtool.plugins import component
from rvtool_plugins.simulators.dirty_map import DirtyMapConfig, array, beam
from rvtool_plugins.simulators.dirty_map.simulator import DirtyMap

CPU = torch.device("cpu")
FIXED = {"dec_min_deg": 34, "dec_max_deg": 34}
GRID = (32, 48)


def made(**settings):
    return DirtyMap(DirtyMapConfig(**settings))


def beam_of(simulator):
    """Return the dirty beam of fixed settings, with its peak in the middle of twice the field."""
    return torch.fft.fftshift(torch.fft.irfft2(simulator._fixed(CPU).cells)[0])


def cells_of(u, v):
    """Return the unit weights of visibilities in whole cells."""
    places = [torch.tensor(at, dtype=torch.float64).reshape(1, 1, -1) for at in (u, v)]
    counts = beam.count(*places, torch.ones(1, 1, dtype=torch.bool), GRID)
    return beam.unit(counts * beam.weights(counts, "natural", 0))


@pytest.fixture
def sky(tmp_path):
    """Make a folder of a point source of 0.3 Jy, in the row 20 and the column 11, and of an empty sky with a blank."""
    image = np.zeros((2, 64, 64), np.float32)
    image[0, 20, 11] = 0.3
    image[1, :4, :4] = np.nan
    header = fits.Header({"BUNIT": "mJy/pixel", "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"})
    header.update({"CDELT1": -1.8 / 3600, "CDELT2": 1.8 / 3600, "CRVAL1": 10.0})
    for number, one in enumerate(image):
        fits.writeto(tmp_path / f"{number}.fits", one * 1e3, header)
    (tmp_path / "labels.csv").write_text("file,label,split\n0.fits,point,train\n1.fits,empty,test\n")
    return tmp_path


# ---------------------------------------------------------------- where antennas stand and what they measure


def test_antennas_stand_on_the_pads_of_the_vla():
    """Distances from the arms' meeting to the surveyed pads W36, E36, N36 of B and W72, N8 of A, metres."""
    distance = {name: array.vla(name).norm(dim=1) for name in ("vla-a", "vla-b")}
    assert distance["vla-b"][[8, 17, 26]].tolist() == pytest.approx([6392.7, 6392.8, 5764.2], rel=1e-3)
    assert distance["vla-a"][[8, 18]].tolist() == pytest.approx([21000.1, 436.3], rel=1e-3)
    torch.testing.assert_close(array.vla("vla-b")[[1, 3]], array.vla("vla-a")[[0, 1]], rtol=1e-12, atol=0)
    east, north, _ = array.vla("vla-b")[26].tolist()
    assert math.degrees(math.atan2(east, north)) == pytest.approx(-5)


def test_a_baseline_to_the_east_runs_in_circles_about_the_pole():
    stations = torch.tensor([[0.0, 0, 0], [100, 0, 0]], dtype=torch.float64)
    hours = torch.linspace(-12, 12, 25, dtype=torch.float64)[None]
    for dec, ratio in ((90.0, 1.0), (30.0, 0.5)):  # below the pole the circle is an ellipse of axis ratio sin(dec)
        u, v = array.tracks(array.baselines(stations, 34.0), hours, torch.tensor([dec], dtype=torch.float64))
        torch.testing.assert_close(torch.hypot(u, v / ratio), torch.full_like(u, 100))
    assert (u[0, 12, 0].item(), v[0, 12, 0].item()) == pytest.approx((100, 0))  # on the meridian: to the east


def test_in_the_zenith_the_plan_of_the_array_is_seen():
    plan = torch.tensor([[0.0, 0, 0], [30, 40, 7]], dtype=torch.float64)
    zenith = torch.tensor([34.0], dtype=torch.float64)
    u, v = array.tracks(array.baselines(plan, 34.0), torch.zeros(1, 1, dtype=torch.float64), zenith)
    assert (u.item(), v.item()) == pytest.approx((30, 40))
    assert array.elevation_deg(torch.zeros(1), zenith, 34.0).item() == pytest.approx(90)


# ---------------------------------------------------------------- beams


@pytest.mark.parametrize(("u", "v"), [(3, 5), (-4, 2), (0, 7), (6, 0)])
def test_the_beam_of_one_baseline_is_its_cosine(u, v):
    y, x = torch.meshgrid(*(torch.arange(side) for side in GRID), indexing="ij")
    fringe = torch.cos(2 * math.pi * (v * y / GRID[0] - u * x / GRID[1]))  # columns go to the west
    torch.testing.assert_close(torch.fft.irfft2(cells_of([u], [v]))[0], fringe, rtol=0, atol=1e-5)


def test_of_one_baseline_the_clean_beam_is_an_axis_of_the_fringe():
    major, minor, angle = beam.axes(beam.fit(cells_of([4], [0]), 16.0))
    assert major.item() == pytest.approx(24 * 2.3548, rel=1e-3)  # not resolved: the image's side
    # of cos(2 pi x / 12) above 0.35: the Gaussian that has its curvature is 4.50 wide, that at half height 4
    assert 4 < minor.item() < 4.5
    assert abs(angle.item()) == pytest.approx(0, abs=1e-3)


def test_a_gaussian_coverage_has_a_gaussian_beam():
    """The transform of exp(-2 pi^2 (f Sigma f)) is a Gaussian of covariance Sigma: major axis 8 px at 30 degrees."""
    angle, major, minor = math.radians(30), 8.0, 5.0
    along = torch.tensor([-math.sin(angle), math.cos(angle)], dtype=torch.float64)
    across = torch.tensor([along[1], -along[0]])
    sigma = (major**2 * torch.outer(along, along) + minor**2 * torch.outer(across, across)) / (8 * math.log(2))
    covariance = torch.stack([sigma[0, 0], sigma[0, 1], sigma[1, 1]])[None]
    cells = beam.unit(beam.clean(covariance, (64, 64)))
    torch.testing.assert_close(beam.fit(cells, 20.0), covariance, rtol=1e-3, atol=1e-3)
    found = [one.item() for one in beam.axes(covariance)]
    assert found == pytest.approx([major, minor, 30], rel=1e-6)


def test_full_coverage_gives_the_sky_back():
    sky = torch.rand(2, *GRID)
    cells = beam.unit(torch.ones(2, GRID[0], GRID[1] // 2 + 1))
    torch.testing.assert_close(torch.fft.irfft2(torch.fft.rfft2(sky) * cells), sky)


@pytest.mark.parametrize(("dec", "published"), [(34, (5.4, 5.4)), (-10, (6.8, 5.4))])
def test_snapshots_have_beams_near_those_of_first(dec, published):
    """FIRST's restoring beams in the north and south of -2.5 degrees (White et al. 1997), from snapshots in B."""
    snapshot = made(size=128, track_h=0.05, weighting="natural", dec_min_deg=dec, dec_max_deg=dec).info.target.beam
    assert (snapshot.major_arcsec, snapshot.minor_arcsec) == pytest.approx(published, rel=0.15)


def test_uniform_and_natural_beams_of_a_long_track_lie_about_the_published_one():
    """4.3 arcsec for B at 1.5 GHz (NRAO), with uniform weights of a far larger field, which are between these two."""
    settings = {"track_h": 12, "frequency_mhz": 1500, "size": 128, **FIXED}
    uniform, natural = (made(weighting=name, **settings).info.target.beam for name in ("uniform", "natural"))
    assert 3 < uniform.minor_arcsec < uniform.major_arcsec < 4.3 < natural.minor_arcsec < natural.major_arcsec < 6.5


def test_a_low_source_is_blurred_along_its_vertical():
    low = made(size=64, track_h=0, dec_min_deg=-10, dec_max_deg=-10, hour_angle_min_h=2, hour_angle_max_h=2)
    hour, latitude, dec = math.radians(30), math.radians(34.0788), math.radians(-10)
    parallactic = math.atan2(math.sin(hour), math.tan(latitude) * math.cos(dec) - math.sin(dec) * math.cos(hour))
    assert low.info.target.beam.angle_deg == pytest.approx(math.degrees(parallactic), abs=6)


def test_weights_go_from_uniform_to_natural():
    counts = torch.tensor([[[0.0, 1, 4, 0]]])
    assert beam.weights(counts, "natural", 0).tolist() == [[[0, 1, 1, 0]]]
    assert beam.weights(counts, "uniform", 0).tolist() == [[[0, 1, 0.25, 0]]]
    # sums over the whole plane: n^2 twice 17, n twice 5; f^2 = 25 / 3.4
    briggs = beam.weights(counts, "briggs", 0)
    torch.testing.assert_close(briggs[0, 0, 1:3], 1 / (1 + torch.tensor([1.0, 4.0]) * 25 / 3.4))
    for robust, limit, price in ((-6, "uniform", 1.0), (6, "natural", 0.0)):
        near = beam.weights(counts, "briggs", robust)[0, 0]
        assert (near[1] / near[2]).item() == pytest.approx(4**price, rel=1e-3), limit


# ---------------------------------------------------------------- images


def test_a_point_source_shows_the_beam_at_its_place_times_its_flux(sky):
    simulator = made(data=sky, rms_jy_beam=0, track_h=0.2, clean_beam_arcsec=6.3, **FIXED)
    pair = simulator.simulate(torch.tensor([0]), 0, CPU)
    shifted = beam_of(simulator)[64 - 20 : 128 - 20, 64 - 11 : 128 - 11]
    torch.testing.assert_close(pair["image"][0, 0], 0.3 * shifted, rtol=0, atol=1e-5)
    assert shifted[20, 11].item() == pytest.approx(1)
    y, x = torch.meshgrid(torch.arange(64) - 20, torch.arange(64) - 11, indexing="ij")
    round_beam = torch.exp(-4 * math.log(2) * (x**2 + y**2) / 3.5**2)
    torch.testing.assert_close(pair["target"][0, 0], 0.3 * round_beam, rtol=0, atol=3e-3 * 0.3)
    assert simulator.info.target.beam.major_arcsec == 6.3
    assert simulator.info.image.beam.major_arcsec == pytest.approx(pair["beam_major_arcsec"].item()) != 6.3


@pytest.mark.parametrize("weighting", ["natural", "uniform", "briggs"])
def test_the_noise_has_its_rms_and_the_beam_a_peak_of_one(weighting):
    # fluxes that the noise drowns
    settings = {"size": 32, "pixel_arcsec": 1.8, "track_h": 0.1, "weighting": weighting, "rms_jy_beam": 0.01}
    simulator = made(flux_min_jy=1e-12, flux_max_jy=1e-11, **settings, **FIXED)
    dirty = beam_of(simulator)
    assert dirty.max().item() == dirty[32, 32].item() == pytest.approx(1, abs=1e-6)
    noise = simulator.simulate(torch.arange(400), 3, CPU)["image"][:, 0]
    assert noise.std().item() == pytest.approx(0.01, rel=0.02)
    if weighting == "natural":  # whose weights are the noise's power
        beside = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
        assert beside.item() == pytest.approx(dirty[32, 33].item(), abs=0.02)


def test_drawn_sources_have_the_flux_of_the_column():
    settings = {"size": 64, "rms_jy_beam": 0, "clean_beam_arcsec": 4.0, "fwhm_max_arcsec": 6}
    batch = made(**settings).simulate(torch.arange(60), 1, CPU)
    flux = batch["target"].sum((1, 2, 3)) / (math.pi / (4 * math.log(2)) * 4**2)
    inside = (flux / batch["flux_jy"] - 1).abs() < 1e-3  # a wide source near the edge may lose some
    assert inside.float().mean() > 0.9
    assert set(batch["sources"].tolist()) == {1, 2, 3, 4, 5, 6}
    assert "snr" not in batch
    alone = batch["sources"] == 1
    assert bool((batch["flux_jy"][alone] >= 2e-3).all())


def test_an_index_has_one_pair_bit_by_bit_whatever_the_batch():
    simulator = made(size=50, sources=3, hour_angle_min_h=-2, hour_angle_max_h=2)
    whole = simulator.simulate(torch.arange(12), 5, CPU)
    parts = [simulator.simulate(some, 5, CPU) for some in torch.arange(12).split(5)]
    for name, values in whole.items():
        assert torch.equal(values, torch.cat([part[name] for part in parts])), name


def test_declinations_are_drawn_and_beams_are_in_the_columns():
    simulator = made(size=64, hour_angle_min_h=-3, hour_angle_max_h=3)
    assert simulator.info.image.beam is None
    assert simulator.info.target.beam is None
    batch = simulator.simulate(torch.arange(40), 0, CPU)
    sine = torch.deg2rad(batch["declination_deg"]).sin()
    assert sine.min() > math.sin(math.radians(-10))
    assert sine.max() < math.sin(math.radians(65))
    assert batch["hour_angle_h"].abs().max() < 3
    assert batch["beam_major_arcsec"].unique().numel() == 40
    assert (batch["beam_major_arcsec"] / batch["beam_minor_arcsec"]).min() >= 1
    # one of them alone, with its declination and hour angle fixed, has the same beam
    at = {name: batch[name][5].item() for name in ("declination_deg", "hour_angle_h")}
    dec, hour = at["declination_deg"], at["hour_angle_h"]
    one = made(size=64, dec_min_deg=dec, dec_max_deg=dec, hour_angle_min_h=hour, hour_angle_max_h=hour)
    assert one.info.target.beam.major_arcsec == pytest.approx(batch["beam_major_arcsec"][5].item(), rel=5e-3)


def test_what_is_low_is_not_observed():
    whole, half = (made(size=32, pixel_arcsec=1.8, track_h=24, elevation_min_deg=low, **FIXED) for low in (-90, 0))
    counts = [one._fixed(CPU).columns["visibilities"].item() for one in (whole, half)]
    # above the horizon for arccos(-tan(34.0788) tan(34)) = 117.15 of 180 degrees
    assert counts[1] / counts[0] == pytest.approx(117.15 / 180, abs=2e-3)


# ---------------------------------------------------------------- skies that are images, and what is told


def test_pairs_have_the_rows_of_the_images_that_are_their_sky(sky, tmp_path):
    from rich.console import Console

    from rvtool.verbs import simulate

    out = tmp_path / "pairs"
    settings = simulate.Settings(simulator="dirty-map", count=4, out=out, config={"data": sky, **FIXED})
    simulate.run(settings, Console(quiet=True))
    pairs = open_dataset(out)
    assert pairs.table["label"].to_pylist() == ["point", "empty"] * 2
    assert pairs.table["split"].to_pylist() == ["train", "test"] * 2
    assert np.isnan(pairs.target(1).data[0, :4, :4]).all()
    assert np.isfinite(pairs.image(1).data).sum() == 64 * 64 - 16
    assert pairs.image(0).data.tolist() != pairs.image(2).data.tolist()  # other noise
    assert pairs.target(0).data.tolist() == pairs.target(2).data.tolist()
    assert pairs.target(0).beam.major_arcsec == pytest.approx(3.9, abs=0.4)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"array": "vla-a"}, "needs pixels of 0.604 arcsec at most, and they have 1"),
        ({"array": "vla-d"}, "a field of 171 arcsec at least"),
        ({"clean_beam_arcsec": 1.5}, "must span two pixels"),
        ({"dec_min_deg": -70}, "At declination -70 deg and an hour angle of 0 h nothing is above 8 deg"),
        ({"dec_min_deg": 70}, "may not be less than dec_min_deg"),
        ({"flux_max_jy": 1e-3}, "may not be less than flux_min_jy"),
        ({"fwhm_max_arcsec": 0.5}, "less than a pixel"),
    ],
)
def test_wrong_settings_are_told(settings, says):
    chosen = component("simulator", "dirty-map")
    with pytest.raises(ConfigError, match=says):
        chosen.load()(chosen.configure(settings))


def test_antennas_come_from_a_table(tmp_path):
    table = tmp_path / "antennas.txt"
    table.write_text("# east north up\n0 0 0\n3000 4000 1 25 pad\n")
    simulator = made(size=32, pixel_arcsec=2, antennas=table, track_h=0, dec_min_deg=34.0788, dec_max_deg=34.0788)
    assert simulator.info.target.beam.minor_arcsec == pytest.approx(206265 / (5000 / 0.214137) * 0.36, rel=0.1)
    for text, says in (
        ("0 0 0\n", "two antennas or more"),
        ("", "two antennas or more"),
        ("a b c\n", "cannot be read"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=says):
            made(antennas=table)


def test_images_that_tell_nothing_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((64, 64), np.float32))
    with pytest.raises(DataError, match="pixel scale; set --image-pixel-arcsec"):
        made(data=tmp_path)
    with pytest.raises(DataError, match="needs Jy/beam or Jy/pixel"):
        made(data=tmp_path, image_pixel_arcsec=1.8)
