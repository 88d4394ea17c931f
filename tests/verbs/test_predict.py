"""Asking two small trained runs about images, through the verb."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
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
from rvtool.data.stretch import Stretch, cut, fit_to
from rvtool.errors import ConfigError, DataError
from rvtool.runs.apply import Said
from rvtool.runs.familiar import Familiar
from rvtool.runs.run import Run, load_run
from rvtool.verbs import compress
from rvtool.verbs.predict.explain import integrated_gradients, place_of_given
from rvtool.verbs.predict.prototypes import Prototypes
from rvtool.verbs.predict.reading import ReadImage, cutout

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
        compress.Settings(files=(tmp_path / "c.fits",), out=packed, lossless=True),
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
    np.save(tmp_path / "none.npy", np.zeros((0, 1, SIZE, SIZE), np.float32))
    fits.writeto(tmp_path / "whole.fits", np.load(good[0]))
    packed = bytearray(gzip.compress((tmp_path / "whole.fits").read_bytes()))
    packed[len(packed) // 2] ^= 1
    (tmp_path / "damaged.fits.gz").write_bytes(packed)
    names = ("bad.npy", "blank.npy", "colour.npy", "missing.npy", "none.npy", "damaged.fits.gz")
    bad = [tmp_path / name for name in names]
    result, _ = ask(first, good[0], bad[0], good[1], *bad[1:], good[2], out=tmp_path / "p.csv")
    assert [row["file"] for row in table(tmp_path / "p.csv")] == [str(path) for path in good]
    failures = table(tmp_path / "p-failures.csv")
    assert failures == result["failures"]
    assert [row["file"] for row in failures] == [str(path) for path in bad]
    assert failures[2]["error"] == f"{bad[2]} has 3 channels, and first was trained on 1."
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


def test_a_grey_picture_is_answered_however_it_was_saved(first, tmp_path, ask, table):
    pixels = np.random.default_rng(5).integers(0, 256, (SIZE, SIZE), np.uint8)
    for mode in ("L", "LA", "RGB", "RGBA"):
        Picture.fromarray(pixels).convert(mode).save(tmp_path / f"{mode}.png")
    result, _ = ask(first, tmp_path, out=tmp_path / "p.csv")
    assert result["images"] == 4
    same = answers(table(tmp_path / "p.csv"))
    assert all(row == same[0] for row in same)


@pytest.mark.parametrize("ended", ["by a fault", "by a signal"])
def test_what_was_answered_is_kept_when_the_work_is_cut_short(world, first, tmp_path, ask, table, monkeypatch, ended):
    images = sorted((world / "data").glob("*.npy"))[:5]
    monkeypatch.setattr(Run, "raw", _failing(Run.raw, 4, ended))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt if ended == "by a signal" else RuntimeError):
        ask(first, tmp_path / "gone.npy", *images, out=tmp_path / "p.csv", batch_size=2)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "p.csv").exists()
    assert [row["file"] for row in table(tmp_path / "p-partial.csv")] == [str(path) for path in images[:2]]
    assert len(table(tmp_path / "p-partial-failures.csv")) == 1


def _failing(raw, number, ended):
    """Return what reads as `raw` does, and fails at one image."""
    seen = []

    def read(run, image):
        seen.append(image)
        if len(seen) == number and ended == "by a signal":
            os.kill(os.getpid(), signal.SIGTERM)
        elif len(seen) == number:
            raise RuntimeError("a fault")
        return raw(run, image)

    return read


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
    places = [(34.5, 27.5), (-0.4, -0.4), (68, 50), (-30, 5)]  # x, y: inside, in a corner, in the blank margin, beside
    sky = [WCS(header).pixel_to_world(*place).icrs for place in places]
    lines = [f"{number},{one.ra.deg},{one.dec.deg},{number * 1.5}" for number, one in enumerate(sky)]
    lines[2:2] = ["10,400,0,", "11,nowhere,5,x"]
    (tmp_path / "t.csv").write_text("\n".join(["name,RA,Dec,flux", *lines]) + "\n")
    result, _ = ask(first, tmp_path / "mosaic.fits", targets=tmp_path / "t.csv", out=tmp_path / "p.csv", batch_size=1)
    np.save(tmp_path / "1.npy", mosaic[22:34, 29:41])  # centred on (34.5, 27.5)
    np.save(tmp_path / "2.npy", np.pad(mosaic[:6, :6], ((6, 0), (6, 0)), constant_values=np.nan))
    rows = table(tmp_path / "p.csv")
    assert list(rows[0]) == ["name", "RA", "Dec", "flux", *CLASSES, "entropy", "set", "distance"]
    assert [[row["name"], row["flux"]] for row in rows] == [
        ["0", "0.0"], ["1", "1.5"], ["10", ""], ["11", "x"], ["2", "3.0"], ["3", "4.5"],
    ]  # fmt: skip
    ask(first, tmp_path / "1.npy", tmp_path / "2.npy", out=tmp_path / "q.csv")
    assert answers(rows[:2]) == answers(table(tmp_path / "q.csv"))
    assert rows[0]["one"] != rows[1]["one"]
    assert all(set(row) == {""} for row in answers(rows[2:]))
    failures = {row["file"]: row["error"] for row in table(tmp_path / "p-failures.csv")}
    assert list(failures) == ["row 3", "row 4", "row 5", "row 6"]
    assert "no place on the sky" in failures["row 3"]
    assert "no position in degrees" in failures["row 4"]
    assert "none of the 1 images" in failures["row 5"]
    assert "none of the 1 images" in failures["row 6"]
    assert result["images"] == 2


@pytest.mark.parametrize("side", [12, 13, 160, 161, 302])
def test_the_centre_of_an_image_is_its_middle(side):
    for height, width in [(150, 151), (152, 153), (300, 301), (302, 303), (303, 150), (12, 13)]:
        pixels = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
        for error in (0, 1e-9, -1e-9, 0.01, -0.01):  # of a position's digits, px
            cut_out, _ = cutout(Image(pixels), (height - 1) / 2 + error, (width - 1) / 2 + error, side)
            np.testing.assert_array_equal(cut_out.data, fit_to(pixels, side, side))


def test_positions_are_not_looked_up_in_a_cube(first, tmp_path, ask):
    fits.writeto(tmp_path / "cube.fits", np.random.default_rng(2).normal(size=(3, 60, 70)), sky_header())
    (tmp_path / "t.csv").write_text("ra_deg,dec_deg\n150.0,20.0\n")
    with pytest.raises(DataError, match=r"cube\.fits is a cube of 3 planes; name files of one image"):
        ask(first, tmp_path / "cube.fits", targets=tmp_path / "t.csv", out=tmp_path / "p.csv")


def test_targets_keep_their_rows_and_columns(world, first, tmp_path, ask, table):
    names = [path.name for path in sorted((world / "data").glob("*.npy"))[:2]]
    for name in names:
        shutil.copy(world / "data" / name, tmp_path)
    gone = "n" * 300 + ".npy"  # no file may have so long a name
    lines = [f"7,{names[1]},old,a,b", f"8,{gone},old,a,b", f"9,{names[0]},old,a,b", "5,,,,"]
    (tmp_path / "t.csv").write_text("\n".join([",File,one,set,rvtool_set", *lines]) + "\n")
    result, told = ask(first, targets=tmp_path / "t.csv", out=tmp_path / "out" / "p.csv")
    rows = table(tmp_path / "out" / "p.csv")
    assert list(rows[0]) == [
        "",
        "File",
        "one",
        "set",
        "rvtool_set",
        "rvtool_one",
        "two",
        "entropy",
        "rvtool_rvtool_set",
        "distance",
    ]
    assert [(row[""], row["File"]) for row in rows] == [("7", names[1]), ("8", gone), ("9", names[0]), ("5", "")]
    assert [row["one"] + row["set"] + row["rvtool_set"] for row in rows] == ["oldab", "oldab", "oldab", ""]
    assert "are rvtool_one, rvtool_rvtool_set here" in told
    rows = [{**row, "one": row["rvtool_one"], "set": row["rvtool_rvtool_set"]} for row in rows]
    assert all(set(answers([rows[number]])[0]) == {""} for number in (1, 3))
    ask(first, tmp_path / names[1], tmp_path / names[0], out=tmp_path / "q.csv")
    assert answers(rows[::2]) == answers(table(tmp_path / "q.csv"))
    assert rows[0]["one"] != rows[2]["one"]
    assert [failure["file"] for failure in result["failures"]] == [str(tmp_path / gone), "row 4"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no row"),
        (b"file\n", "holds no row"),
        (b"ra_deg;dec_deg\n1;2\n", "neither a column 'file' nor 'ra_deg' and 'dec_deg'.*'ra_deg;dec_deg'"),
        ("file\na.fits\n".encode("utf-16"), "no text in UTF-8"),
        (b"ra_deg,dec_deg\n1,2\n", "name the images that show them too"),
        (None, "Is a directory"),
    ],
)
def test_tables_that_name_nothing_are_refused(first, tmp_path, ask, content, words):
    path = tmp_path / "t.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises((ConfigError, DataError), match=words):
        ask(first, targets=path, out=tmp_path / "p.csv")


def test_files_and_images_together_are_ambiguous(first, tmp_path, ask):
    (tmp_path / "t.csv").write_text("file\na.fits\n")
    with pytest.raises(ConfigError, match="leave the images out"):
        ask(first, tmp_path / "b.fits", targets=tmp_path / "t.csv", out=tmp_path / "p.csv")


# --------------------------------------------------------------------------- sets, ensembles, remarks


def test_sets_grow_with_the_coverage(world, first, tmp_path, ask, table):
    sizes = {}
    for coverage in (0.05, 0.999):
        ask(first, world / "data", out=tmp_path / f"{coverage}.csv", coverage=coverage)
        sizes[coverage] = {row["set"].count("|") + 1 for row in table(tmp_path / f"{coverage}.csv")}
    assert sizes == {0.05: {1}, 0.999: {2}}  # so few validation images promise no more than all classes


def test_runs_stand_before_the_images(world, first, tmp_path, ask):
    image = next((world / "data").glob("*.npy"))
    result, told = ask(first, "second", image, out=tmp_path / "p.csv", ensemble=True)
    assert result["images"] == 1
    assert "2 runs" in told
    with pytest.raises(ConfigError, match="is a run, not an image"):
        ask(first, world / "runs" / "second", image, out=tmp_path / "q.csv")
    with pytest.raises(ConfigError, match="two runs or more"):
        ask(first, image, out=tmp_path / "q.csv", ensemble=True)
    for setting in ({"explain": True}, {"prototypes": tmp_path}):
        with pytest.raises(ConfigError, match="leave --ensemble"):
            ask(first, "second", image, out=tmp_path / "q.csv", ensemble=True, **setting)


def test_what_weakens_the_answers_is_told(world, first, tmp_path, ask, table):
    image = next((world / "data").glob("*.npy"))
    _, told = ask(first, image, out=tmp_path / "a.csv")
    assert "temperature" not in told
    _, told = ask(first, image, out=tmp_path / "b.csv", dropout_passes=3)
    assert "temperature and sets were fitted" in told
    bare = tmp_path / "bare"
    shutil.copytree(first, bare)
    (bare / "validation.parquet").unlink()
    (bare / "features.safetensors").unlink()
    record = (bare / "run.json").read_text()
    assert '"pixel_arcsec": null' in record
    (bare / "run.json").write_text(record.replace('"pixel_arcsec": null', '"pixel_arcsec": 1.8'))
    for pixel in (1.8, 3.6):
        fits.writeto(tmp_path / f"{pixel}.fits", np.load(image), sky_header(pixel_arcsec=pixel))
    _, told = ask(bare, tmp_path / "1.8.fits", tmp_path / "3.6.fits", out=tmp_path / "c.csv")
    assert "keeps no answers on validation images" in told
    assert "1 of 2 images have another pixel scale than bare was trained on: 3.6 arcsec, not 1.8 arcsec." in told
    assert list(table(tmp_path / "c.csv")[0]) == ["file", *CLASSES, "entropy"]
    with pytest.raises(DataError, match="does not keep where its training images lie"):
        ask(bare, image, out=tmp_path / "d.csv", prototypes=tmp_path)


# --------------------------------------------------------------------------- prototypes


def test_prototypes_by_hand():
    run = SimpleNamespace(familiar=Familiar(np.eye(2), np.zeros((1, 2)), 2.0))
    known = Prototypes(("a", "b"), np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([1, 3]), run)
    verdict = known.conclude(Said(np.empty((2, 0)), np.array([[0.0, 0.0], [1.0, 6.0]])))
    densities = [[1 / 2, np.exp(-16 * 3 / 8) * 3 / 4], [np.exp(-37 / 4) / 2, np.exp(-45 * 3 / 8) * 3 / 4]]
    np.testing.assert_allclose(verdict.probabilities, [np.array(row) / sum(row) for row in densities])
    np.testing.assert_allclose(verdict.distance, [0, np.sqrt(37 / 2) / 2])  # to a, the nearer in its own width
    assert verdict.calibration is None


class Moments(torch.nn.Module):
    """A network that knows two classes, and whose features are the mean brightness and its square's mean."""

    def examine(self, batch):
        image = batch["image"].flatten(1)
        return torch.full((len(image), 2), 0.5), torch.stack([image.mean(dim=1), (image**2).mean(dim=1)], dim=1)

    def predict(self, batch):
        return self.examine(batch)[0]


def test_a_class_never_trained_on_is_found(world, first, tmp_path, ask, table, monkeypatch):
    monkeypatch.setattr(Run, "model", Moments())
    monkeypatch.setattr(Run, "familiar", Familiar(20 * np.eye(2), np.zeros((1, 2)), 1.0))
    random = np.random.default_rng(3)
    bar = np.zeros((SIZE, SIZE), np.float32)
    bar[6:10] = 3
    for number in range(12):
        place = tmp_path / ("examples/bar" if number < 6 else "bars")
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{number}.npy", (bar + random.normal(0, 0.3, bar.shape)).astype(np.float32))
    blobs = tmp_path / "examples" / "blob"
    blobs.mkdir()
    for number in range(1, 12, 2):
        shutil.copy(world / "data" / f"{number:03d}.npy", blobs)
    others = [world / "data" / f"{number:03d}.npy" for number in range(41, 53, 2)]
    result, told = ask(
        first, tmp_path / "bars", *others, out=tmp_path / "p.csv", prototypes=tmp_path / "examples", batch_size=4
    )
    assert result["classes"] == ["bar", "blob"]
    rows = table(tmp_path / "p.csv")
    assert list(rows[0]) == ["file", "bar", "blob", "entropy", "distance"]
    assert [float(row["bar"]) > 0.5 for row in rows] == [True] * 6 + [False] * 6
    assert "rest on the examples alone" in told
    (blobs / "broken.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"The example .*broken\.npy cannot be used"):
        ask(first, *others, out=tmp_path / "q.csv", prototypes=tmp_path / "examples")
    with pytest.raises(ConfigError, match="holds 0 folders of examples"):
        ask(first, *others, out=tmp_path / "q.csv", prototypes=blobs)
    with pytest.raises(ConfigError, match="is no folder"):
        ask(first, *others, out=tmp_path / "q.csv", prototypes=tmp_path / "gone")


# --------------------------------------------------------------------------- explanations


def test_integrated_gradients_of_a_line_and_of_a_parabola():
    image = torch.tensor([[[1.0, -2.0], [0.0, 3.0]]])
    weights = torch.tensor([[[0.5, 1.0], [2.0, -1.0]]])

    def logits(points):
        line, parabola = (points * weights).sum(dim=(1, 2, 3)), (points**2).sum(dim=(1, 2, 3))
        return torch.stack([line, parabola], dim=1)

    np.testing.assert_allclose(integrated_gradients(logits, image, 0), image * weights, rtol=1e-5)
    np.testing.assert_allclose(integrated_gradients(logits, image, 1), image**2, rtol=1e-5)


def test_a_map_adds_up_to_the_logit_and_keeps_its_place(first, tmp_path, ask, table):
    random = np.random.default_rng(4)
    y, x = np.mgrid[:31, :24]
    sky = np.exp(-((x - 14) ** 2 + (y - 13) ** 2) / 4) + random.normal(0, 0.05, x.shape)
    fits.writeto(tmp_path / "a.fits", sky.astype(np.float32), sky_header(shape=sky.shape))
    ask(first, tmp_path / "a.fits", out=tmp_path / "p.csv", explain=True)
    (row,) = table(tmp_path / "p.csv")
    said = max(CLASSES, key=lambda name: float(row[name]))
    with fits.open(tmp_path / "p-explained" / "000001-a.fits.fits") as hdus:
        seen, header = hdus[0].data, hdus[0].header
    assert header["CLASS"] == said
    run = load_run(first)
    given = run.prepare({name: values[None] for name, values in run.raw(read_image(tmp_path / "a.fits")).items()})
    with torch.no_grad():
        logit, empty = (run.model(image)[0, CLASSES.index(said)] for image in (given["image"], 0 * given["image"]))
    assert abs(logit - empty) > 0.01
    assert seen.sum() == pytest.approx(float(logit - empty), rel=0.1)
    assert seen.shape == (12, 12)
    there = WCS(sky_header(shape=sky.shape)).pixel_to_world(14, 13)  # the middle 12 px begin at (6, 9)
    assert WCS(header).world_to_pixel(there) == pytest.approx((8, 4), abs=1e-3)
    with Picture.open(tmp_path / "p-explained" / "000001-a.fits.png") as picture:
        assert picture.size == (900, 420)


@pytest.mark.parametrize(
    "stretch", [Stretch(crop=24), Stretch(crop=24, resize=8), Stretch(crop=25, resize=50), Stretch()]
)
@pytest.mark.parametrize("matrix", [False, True])
def test_what_a_network_is_given_has_the_right_place(stretch, matrix):
    header = sky_header(shape=(41, 20))
    if matrix:
        header["CD1_1"], header["CD2_2"] = header.pop("CDELT1"), header.pop("CDELT2")
    y, x = np.mgrid[:41, :20]
    blob = np.exp(-((x - 11.3) ** 2 + (y - 17.6) ** 2) / 18)[None].astype(np.float32)
    image = Image(blob, _header=header)
    sky = image.wcs.pixel_to_world(11.3, 17.6)
    middle, corner = cutout(image, 19, 12, 16)
    for one in (ReadImage("whole", image), ReadImage("cutout", middle, corner=corner)):
        height, width = (stretch.crop or size for size in one.image.data.shape[1:])
        given = np.nan_to_num(cut(one.image.data, height, width, stretch.resize)[0][0])
        place = place_of_given(one, stretch)
        row, column = np.unravel_index(given.argmax(), given.shape)
        assert place.world_to_pixel(sky) == pytest.approx((column, row), abs=0.75)
        scale = SkyCoord(place.pixel_to_world(column, row)).separation(place.pixel_to_world(column + 1, row)).arcsec
        assert scale == pytest.approx(1.8 * stretch.crop / stretch.resize if stretch.resize else 1.8, rel=1e-3)
