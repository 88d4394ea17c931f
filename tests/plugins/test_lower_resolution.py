"""What a larger beam makes of an image: fluxes stay, point sources keep their peak, noise has its rms."""

import numpy as np
import pytest
import torch
from astropy.io import fits

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError
from rvtool.plugins import component

CPU = torch.device("cpu")


@pytest.fixture
def sky(tmp_path):
    """Make a folder of a beam-sized point source, of 1 Jy in its peak, and of an empty sky with a blank corner."""
    y, x = np.mgrid[:64, :64] - 30.5  # the middle of a new pixel of four
    point = np.exp(-4 * np.log(2) * (x**2 + y**2) / 3**2).astype(np.float32)
    empty = np.zeros_like(point)
    empty[:8, :8] = np.nan
    header = fits.Header({"BUNIT": "Jy/beam", "BMAJ": 5.4 / 3600, "BMIN": 5.4 / 3600, "BPA": 0.0})
    header.update({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CDELT1": -1.8 / 3600, "CDELT2": 1.8 / 3600})
    for number, image in enumerate((point, empty)):
        header["CRVAL1"] = 10.0 + number
        fits.writeto(tmp_path / f"{number}.fits", image, header)
    (tmp_path / "labels.csv").write_text("file,label,fold,split\n0.fits,a,0,train\n1.fits,b,1,test\n")
    return tmp_path


def simulator(data, **settings):
    chosen = component("simulator", "lower-resolution")
    return chosen.load()(chosen.configure({"data": data, **settings}))


def test_fluxes_and_the_peak_of_a_point_source_stay(sky):
    made = simulator(sky, rms_jy_beam=0, factor=2).simulate(torch.arange(2), 0, CPU)
    assert made["image"].shape == (2, 1, 32, 32)
    beams = [5.4**2 / 1.8**2, 21.6**2 / 3.6**2]  # in pixels of either side
    flux = [made[name][0].sum().item() / beam for name, beam in zip(("target", "image"), beams, strict=True)]
    assert flux[1] == pytest.approx(flux[0], rel=0.01)
    assert made["image"][0].max().item() == pytest.approx(1, rel=0.02)  # pixels are a sixth of a beam


def test_noise_has_its_rms_and_correlates_as_the_beam(sky):
    coarse = simulator(sky, rms_jy_beam=0.01, factor=2)
    noise = coarse.simulate(torch.arange(1, 400, 2), 3, CPU)["image"][:, 0, 8:]
    assert noise.std().item() == pytest.approx(0.01, rel=0.03)
    beside = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    sigma = 0.71 * 21.6 / 3.6 / np.sqrt(8 * np.log(2))
    assert beside.item() == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.02)


def test_blank_pixels_are_blank_in_whole(sky):
    made = simulator(sky, factor=3).simulate(torch.tensor([1]), 0, CPU)
    assert made["target"].shape[-2:] == (63, 63)  # cut about the middle to whole new pixels
    assert (~made["mask"]).sum() == 9
    assert (~made["target_mask"]).sum() == 64
    assert torch.isfinite(made["image"]).all()


def test_pairs_have_the_rows_of_their_images(sky, tmp_path):
    from rich.console import Console

    from rvtool.verbs import simulate

    out = tmp_path / "pairs"
    settings = simulate.Settings(simulator="lower-resolution", count=3, out=out, config={"data": sky, "factor": 2})
    simulate.run(settings, Console(quiet=True))
    table = open_dataset(out).table.to_pydict()
    assert table["label"] == ["a", "b", "a"]
    assert table["split"] == ["train", "test", "train"]
    assert table["group"][0] == table["group"][2] != table["group"][1]
    assert len(set(table["id"])) == 3
    pair = open_dataset(out)
    assert pair.target(0).data.shape == (1, 64, 64)
    assert pair.image(0).beam.major_arcsec == pytest.approx(21.6)
    assert pair.image(0).data.tolist() != pair.image(2).data.tolist()  # other noise


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"to_beam_arcsec": 5.0}, "to-beam-arcsec is 5, and the images have 5.4 already"),
        ({"factor": 32, "crop": 16}, "leaves nothing of images of 16x16 px"),
    ],
)
def test_wrong_settings_are_told(sky, settings, says):
    with pytest.raises(ConfigError, match=says):
        simulator(sky, **settings)


def test_units_keep_the_flux(tmp_path):
    """A sum over pixels stays where the unit is per pixel; noise in another unit than Jy/beam is refused."""
    y, x = np.mgrid[:64, :64] - 31.5
    blob = np.exp(-(x**2 + y**2) / 50).astype(np.float32)
    for unit, name in (("Jy/pixel", "pixel"), ("mJy/beam", "beam")):
        header = fits.Header({"BUNIT": unit, "BMAJ": 5.4 / 3600, "BMIN": 5.4 / 3600})
        header.update({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CDELT1": -1.8 / 3600, "CDELT2": 1.8 / 3600})
        (tmp_path / name).mkdir()
        fits.writeto(tmp_path / name / "a.fits", blob, header)
    made = simulator(tmp_path / "pixel", rms_jy_beam=0).simulate(torch.tensor([0]), 0, CPU)
    assert made["image"].sum().item() == pytest.approx(made["target"].sum().item(), rel=0.01)
    with pytest.raises(ConfigError, match="in 'Jy/pixel', so noise in Jy/beam cannot be added"):
        simulator(tmp_path / "pixel")
    assert simulator(tmp_path / "beam", rms_jy_beam=1e-3).rms == pytest.approx(1)


def test_a_crop_is_cut_from_the_convolved_sky(sky):
    whole = simulator(sky, rms_jy_beam=0, factor=2).simulate(torch.tensor([0]), 0, CPU)
    part = simulator(sky, rms_jy_beam=0, factor=2, crop=16).simulate(torch.tensor([0]), 0, CPU)
    torch.testing.assert_close(part["image"], whole["image"][..., 12:20, 12:20], atol=1e-5, rtol=1e-4)


def test_a_shift_cuts_elsewhere_each_time(sky):
    whole = simulator(sky, rms_jy_beam=0, factor=2)
    settings = {"rms_jy_beam": 0, "factor": 2, "crop": 16, "shift": 6}
    made = simulator(sky, **settings).simulate(torch.arange(0, 24, 2), 3, CPU)
    target = whole.simulate(torch.tensor([0]), 3, CPU)["target"][0]
    windows = target.unfold(1, 16, 1).unfold(2, 16, 1)[0]  # (top, left, 16, 16)
    places = set()
    for one in made["target"]:
        found = (windows == one).all(-1).all(-1).nonzero().tolist()
        assert len(found) == 1
        places.add(tuple(found[0]))
    assert len(places) > 6
    assert {abs(x - 24) <= 6 for place in places for x in place} == {True}
    assert any(x % 2 for place in places for x in place)  # not by whole coarse pixels
    again = simulator(sky, **settings).simulate(torch.arange(10, 14, 2), 3, CPU)
    assert torch.equal(again["target"], made["target"][5:7])
    with pytest.raises(ConfigError, match="give --crop too"):
        simulator(sky, shift=3)


def test_images_that_tell_nothing_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((16, 16), np.float32))
    with pytest.raises(DataError, match="pixel scale; set --image-pixel-arcsec"):
        simulator(tmp_path)
    with pytest.raises(DataError, match="beam; set --from-beam-arcsec"):
        simulator(tmp_path, image_pixel_arcsec=1.8)
    with pytest.raises(ConfigError, match="set --rms-jy-beam 0"):
        simulator(tmp_path, image_pixel_arcsec=1.8, from_beam_arcsec=5.4)
    with pytest.raises(ConfigError, match="name them"):
        simulator(None)
