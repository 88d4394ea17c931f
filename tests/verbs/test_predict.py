"""Asking two small trained runs about images, through the verb."""

from __future__ import annotations

import gzip
import shutil
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image as Picture
from rich.console import Console

from rvtool.data.fits import Image, read_image
from rvtool.data.stretch import Stretch, cut
from rvtool.errors import ConfigError, DataError
from rvtool.runs.apply import Said
from rvtool.runs.familiar import Familiar
from rvtool.runs.run import load_run
from rvtool.verbs import compress
from rvtool.verbs.predict.explain import integrated_gradients, place_of_given
from rvtool.verbs.predict.prototypes import Prototypes
from rvtool.verbs.predict.reading import Asked, cutout

SIZE = 16  # of the fixture `world`
CLASSES = ("one", "two")


@pytest.fixture
def first(world):
    return world / "runs" / "first"


def sky_header(axes=("RA---SIN", "DEC--SIN"), pixel_arcsec=1.8, shape=(60, 70)):
    header = fits.Header()
    for number, (axis, value, step) in enumerate(zip(axes, (150.0, 20.0), (-1, 1), strict=True), 1):
        header[f"CTYPE{number}"], header[f"CUNIT{number}"] = axis, "deg"
        header[f"CRVAL{number}"], header[f"CRPIX{number}"] = value, shape[2 - number] / 2
        header[f"CDELT{number}"] = step * pixel_arcsec / 3600
    return header


def answers(rows):
    return [[row[name] for name in (*CLASSES, "entropy", "set", "distance")] for row in rows]


def test_equal_pixels_get_equal_answers(first, tmp_path, ask, table):
    pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE), np.uint8)
    pixels[5:9, 4:13] = 255
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    fits.writeto(tmp_path / "b.fits", pixels)
    fits.writeto(tmp_path / "c.fits", pixels.astype(np.float32))
    (tmp_path / "d.fits.gz").write_bytes(gzip.compress((tmp_path / "c.fits").read_bytes()))
    rice = fits.CompImageHDU(pixels.astype(np.int16), compression_type="RICE_1")
    floats = fits.CompImageHDU(pixels.astype(np.float32), compression_type="GZIP_2", quantize_level=0)
    for name, hdu in (("e", rice), ("f", floats)):
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / f"{name}.fits.fz")
    packed = tmp_path / "g.rv.fits"
    compress.run(
        compress.Settings(files=(tmp_path / "c.fits",), out=packed, codec="gzip", lossless=True),
        Console(file=StringIO()),
    )
    result, _ = ask(first, tmp_path, out=tmp_path / "p.csv", symmetries=False)
    assert result["images"] == 7
    same = answers(table(tmp_path / "p.csv"))
    assert all(row == same[0] for row in same)
    Picture.fromarray(pixels[::-1]).save(tmp_path / "other.png")
    ask(first, tmp_path / "other.png", out=tmp_path / "o.csv", symmetries=False)
    assert answers(table(tmp_path / "o.csv")) != same[:1]


def test_one_bad_image_never_loses_the_others(world, first, tmp_path, ask, table):
    good = sorted((world / "data").glob("*.npy"))[:3]
    (tmp_path / "bad.npy").write_bytes(b"no array")
    np.save(tmp_path / "blank.npy", np.full((SIZE, SIZE), np.nan, np.float32))
    np.save(tmp_path / "colour.npy", np.zeros((3, SIZE, SIZE), np.float32))
    bad = [tmp_path / name for name in ("bad.npy", "blank.npy", "colour.npy", "missing.npy")]
    result, _ = ask(first, good[0], bad[0], good[1], *bad[1:], good[2], out=tmp_path / "p.csv")
    assert [row["file"] for row in table(tmp_path / "p.csv")] == [str(path) for path in good]
    failures = table(tmp_path / "p-failures.csv")
    assert failures == result["failures"]
    assert [row["file"] for row in failures] == [str(path) for path in bad]
    assert "3 channels" in failures[2]["error"]
    with pytest.raises(DataError, match="exists already"):
        ask(first, good[0], out=tmp_path / "p.csv")
    ask(first, good[0], out=tmp_path / "p.csv", overwrite=True)
    assert not (tmp_path / "p-failures.csv").exists()


def test_a_cube_gives_a_row_a_plane(world, first, tmp_path, ask, table):
    planes = [np.load(path) for path in sorted((world / "data").glob("*.npy"))[:3]]
    planes[1] = np.full_like(planes[1], np.nan)
    np.save(tmp_path / "cube.npy", np.stack(planes)[:, None])
    result, _ = ask(first, tmp_path / "cube.npy", out=tmp_path / "p.csv")
    cube = tmp_path / "cube.npy"
    assert [row["file"] for row in table(tmp_path / "p.csv")] == [f"{cube}:0", f"{cube}:2"]
    assert result["failures"][0]["file"] == f"{cube}:1"


def test_nothing_to_predict_is_an_error(first, tmp_path, ask):
    with pytest.raises(DataError, match=r"gone\.fits does not exist"):
        ask(first, tmp_path / "gone.fits", out=tmp_path / "p.csv")
    with pytest.raises(DataError, match="2 images could not be used"):
        ask(first, tmp_path / "gone.fits", tmp_path / "lost.fits", out=tmp_path / "p.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no image"):
        ask(first, tmp_path / "empty", out=tmp_path / "p.csv")
    with pytest.raises(ConfigError, match="Name the images"):
        ask(first, out=tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


# --------------------------------------------------------------------------- targets


@pytest.mark.parametrize("axes", [("RA---SIN", "DEC--SIN"), ("GLON-SIN", "GLAT-SIN")])
def test_a_position_in_a_mosaic_is_answered_as_its_cutout(first, tmp_path, ask, table, axes):
    mosaic = np.random.default_rng(2).normal(size=(60, 70)).astype(np.float32)
    mosaic[:, 60:] = np.nan
    header = sky_header(axes)
    fits.writeto(tmp_path / "mosaic.fits", mosaic, header)
    places = [(35, 27.5), (0, 0), (65, 50), (-30, 5)]  # x, y: inside, in a corner, in the blank margin, beside
    sky = [WCS(header).pixel_to_world(*place).icrs for place in places]
    lines = [f"{number},{one.ra.deg},{one.dec.deg},{number * 1.5}" for number, one in enumerate(sky)]
    lines[2:2] = ["10,400,0,", "11,nowhere,5,x"]
    (tmp_path / "t.csv").write_text("\n".join(["name,RA,Dec,flux", *lines]) + "\n")
    result, _ = ask(first, tmp_path / "mosaic.fits", targets=tmp_path / "t.csv", out=tmp_path / "p.csv", batch_size=1)
    np.save(tmp_path / "1.npy", mosaic[22:34, 29:41])  # whose centre is (34.5, 27.5): the nearest that 12 px allow
    np.save(tmp_path / "2.npy", np.pad(mosaic[:6, :6], ((6, 0), (6, 0)), constant_values=np.nan))
    rows = table(tmp_path / "p.csv")
    assert list(rows[0]) == ["name", "RA", "Dec", "flux", *CLASSES, "entropy", "set", "distance"]
    assert [[row["name"], row["flux"]] for row in rows] == [
        ["0", "0.0"], ["1", "1.5"], ["10", ""], ["11", "x"], ["2", "3.0"], ["3", "4.5"],
    ]  # fmt: skip
    shift = 1 if rows[0]["one"] != _said(ask, table, first, tmp_path / "1.npy", tmp_path) else 0
    if shift:  # x = 35 lies halfway between two cutouts
        np.save(tmp_path / "1.npy", mosaic[22:34, 30:42])
    assert rows[0]["one"] == _said(ask, table, first, tmp_path / "1.npy", tmp_path)
    assert rows[1]["one"] == _said(ask, table, first, tmp_path / "2.npy", tmp_path)
    assert all(set(row) == {""} for row in answers(rows[2:]))
    failures = {row["file"]: row["error"] for row in table(tmp_path / "p-failures.csv")}
    assert list(failures) == ["row 3", "row 4", "row 5", "row 6"]
    assert "no place on the sky" in failures["row 3"]
    assert "no position in degrees" in failures["row 4"]
    assert "none of the 1 images" in failures["row 5"]
    assert "none of the 1 images" in failures["row 6"]
    assert result["images"] == 2
