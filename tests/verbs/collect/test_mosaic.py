"""Mosaics show every image under its number, the way up that it has on the sky; lists of numbers lead back to ids."""

import csv

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from rvtool.data.dataset import open_dataset
from rvtool.data.writer import DatasetWriter
from rvtool.errors import DataError
from rvtool.verbs.collect import mosaic
from rvtool.verbs.collect.mosaic import BLANK, GAP_PX, STAMP_PX, read_exclusions, write_mosaics

CAPTION_PX = mosaic.CAPTION_PX


def dataset_of(folder, images, **columns):
    """Write images, by their file names, as a dataset."""
    writer = DatasetWriter(folder)
    for name, data in images.items():
        if name.endswith(".png"):
            Picture.fromarray(data).save(folder / name)
        else:
            fits.PrimaryHDU(data).writeto(folder / name)
    names = list(images)
    writer.rows({"id": [n.partition(".")[0] for n in names], "path": names, "group": list(range(len(names)))} | columns)
    writer.finish({"image": {}}, split="100/0/0")
    return open_dataset(folder, excluded=True)


def corner(size=30):
    """An image that is bright in the first rows and first columns."""
    data = np.random.default_rng(0).normal(0, 1, (size, size)).astype(np.float32)
    data[: size // 3, : size // 3] += 100
    return data


def stamp(page, number, columns=10):
    """Cut the stamp at a place, counted from 0, out of a page."""
    x = GAP_PX + number % columns * (STAMP_PX + GAP_PX)
    y = GAP_PX + number // columns * (STAMP_PX + CAPTION_PX + GAP_PX)
    return np.asarray(Picture.open(page).convert("RGB"))[y : y + STAMP_PX, x : x + STAMP_PX].astype(int)


def test_pages_and_numbers_cover_all_images(tmp_path):
    names = {f"i{n}.png": np.full((9, 9), n, np.uint8) for n in range(25)}
    dataset = dataset_of(tmp_path / "d", names, label=["a,b", *["c"] * 24])
    pages = write_mosaics(dataset, tmp_path, columns=4, rows=3)
    assert [p.name for p in pages] == ["mosaic-001.png", "mosaic-002.png", "mosaic-003.png"]
    rows = list(csv.DictReader((tmp_path / "mosaic/mosaic.csv").open()))
    assert [row["number"] for row in rows] == [str(n) for n in range(1, 26)]
    assert rows[0] == {"number": "1", "id": "i0", "label": "a,b", "path": "i0.png"}
    width, height = 4 * (STAMP_PX + GAP_PX) + GAP_PX, 3 * (STAMP_PX + CAPTION_PX + GAP_PX) + GAP_PX
    assert Picture.open(pages[0]).size == (width, height)
    assert Picture.open(pages[2]).size == (STAMP_PX + 2 * GAP_PX, STAMP_PX + CAPTION_PX + 2 * GAP_PX)
    assert len(write_mosaics(dataset, tmp_path)) == 1  # the other pages go
    assert sorted(p.name for p in (tmp_path / "mosaic").iterdir()) == ["mosaic-001.png", "mosaic.csv"]


def test_fits_is_drawn_from_below_and_pictures_from_above(tmp_path):
    shown = 50 + corner()
    images = {"sky.fits": corner(), "eye.png": shown.astype(np.uint8)}
    page = write_mosaics(dataset_of(tmp_path / "d", images), tmp_path)[0]
    third = STAMP_PX // 3
    sky, eye = stamp(page, 0), stamp(page, 1)
    assert sky[-third:, :third].mean() > 200
    assert sky[:third].mean() < 100
    assert eye[:third, :third].mean() > 200
    assert eye[-third:].mean() < 100


def test_faint_structure_shows_beside_a_bright_core(tmp_path):
    data = np.random.default_rng(1).normal(0, 1, (60, 60)).astype(np.float32)
    data[28:32, 28:32] += 10_000
    data[10:20, 10:20] += 10
    page = write_mosaics(dataset_of(tmp_path / "d", {"a.fits": data[::-1]}), tmp_path)[0]
    seen = stamp(page, 0)[..., 0] * 1.0
    lobe, empty = seen[30:45, 30:45].mean(), seen[110:, 110:].mean()
    assert lobe > empty + 40


def test_blank_unreadable_and_long_images_are_drawn_too(tmp_path):
    holed, long = corner(), np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32)
    holed[20:, :] = np.nan
    dataset = dataset_of(tmp_path / "d", {"holed.fits": holed, "lost.fits": holed, "long.fits": long})
    (tmp_path / "d/lost.fits").write_bytes(b"no FITS at all")
    page = write_mosaics(dataset, tmp_path)[0]
    assert (stamp(page, 0)[:45] == BLANK).all()
    assert (stamp(page, 1) == BLANK).all()
    assert (stamp(page, 2)[75, :] != BLANK).any(axis=-1).all()
    assert (stamp(page, 2)[:70] == BLANK).all()


def test_captions_are_there_and_stay_within_their_stamp(tmp_path):
    names = {f"{'W' * 40}{n}.png": np.zeros((9, 9), np.uint8) for n in range(2)}
    page = write_mosaics(dataset_of(tmp_path / "d", names, label=["a very long name of a class " * 3] * 2), tmp_path)[0]
    pixels = np.asarray(Picture.open(page).convert("L"))
    caption = pixels[GAP_PX + STAMP_PX : GAP_PX + STAMP_PX + CAPTION_PX]
    assert (caption[:, GAP_PX : GAP_PX + STAMP_PX] > 150).sum() > 200
    assert caption[:, GAP_PX + STAMP_PX : 2 * GAP_PX + STAMP_PX].max() < 60  # the gap


def test_excluded_images_keep_their_numbers_and_are_not_drawn(tmp_path):
    names = {f"i{n}.png": np.full((9, 9), n, np.uint8) for n in range(4)}
    dataset = dataset_of(tmp_path / "d", names, excluded=[None, "two sources", None, None])
    write_mosaics(dataset, tmp_path / "d")
    rows = list(csv.DictReader((tmp_path / "d/mosaic/mosaic.csv").open()))
    assert [(row["number"], row["id"]) for row in rows] == [("1", "i0"), ("3", "i2"), ("4", "i3")]


# --------------------------------------------------------------------------- lists of exclusions

IDS = ["J1234+56", "J2345-01", "b/my image", "J0000+00"]


def listed(tmp_path, text):
    path = tmp_path / "exclude.txt"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2,two sources\n", {"J2345-01": "two sources"}),
        ("J1234+56 unclear\n", {"J1234+56": "unclear"}),
        ("J1234+56\t too big \r\n", {"J1234+56": "too big"}),
        ("#4 a neighbour", {"J0000+00": "a neighbour"}),
        ("number,reason\n1,one, two\n", {"J1234+56": "one,two"}),
        ('id,reason\nJ1234+56,"one, two"\n', {"J1234+56": "one, two"}),
        ("\ufeff1\n\n# my list\n  3  \n", {"J1234+56": "excluded by eye", "b/my image": "excluded by eye"}),
        ("b/my image\n", {"b/my image": "excluded by eye"}),
        ("b/my image, blurred\n", {"b/my image": "blurred"}),
        ("1,a\nJ1234+56,b\n", {"J1234+56": "b"}),
        ("", {}),
    ],
)
def test_lists_of_numbers_and_ids_are_read(tmp_path, text, found):
    assert read_exclusions(listed(tmp_path, text), IDS) == found


@settings(max_examples=50)
@given(st.dictionaries(st.integers(1, 4), st.from_regex(r"[a-z]+( [a-z]+)*", fullmatch=True)), st.sampled_from(", \t"))
def test_any_numbers_and_reasons_come_back(tmp_path_factory, reasons, between):
    text = "".join(f"{number}{between}{reason}\n" for number, reason in reasons.items())
    found = read_exclusions(listed(tmp_path_factory.getbasetemp(), text), IDS)
    assert found == {IDS[number - 1]: reason for number, reason in reasons.items()}


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"not in the dataset: 0, 5, J9, x; mend"):
        read_exclusions(listed(tmp_path, "1\n0\n5,bad\nJ9 lost\nx\n"), IDS)
    with pytest.raises(DataError, match="cannot be read as a list"):
        read_exclusions(tmp_path / "nowhere", IDS)


def test_a_number_that_is_an_id_too_must_be_told_apart(tmp_path):
    ids = ["1", "10", "2"]
    assert read_exclusions(listed(tmp_path, "1"), ids) == {"1": "excluded by eye"}
    assert read_exclusions(listed(tmp_path, "10"), ids) == {"10": "excluded by eye"}
    with pytest.raises(DataError, match=r"number of one image and the id of another: 2; write #2 for the number"):
        read_exclusions(listed(tmp_path, "2,blurred"), ids)
    assert read_exclusions(listed(tmp_path, "#2,blurred"), ids) == {"10": "blurred"}


def test_numbers_are_those_of_the_mosaic_that_was_looked_at(tmp_path):
    names = {f"i{n}.png": np.full((9, 9), n, np.uint8) for n in range(3)}
    write_mosaics(dataset_of(tmp_path / "d", names), tmp_path / "d")
    grown = ["new", "i0", "i1", "i2"]
    assert read_exclusions(listed(tmp_path, "1,bad"), grown, tmp_path / "d") == {"i0": "bad"}
    assert read_exclusions(listed(tmp_path, "new"), grown, tmp_path / "d") == {"new": "excluded by eye"}
