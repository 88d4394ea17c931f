"""Collecting from folders: what is kept, what is told, and that bad input loses nothing."""

import csv
import hashlib
from io import StringIO

import numpy as np
import pytest
from astropy.io import fits
from rich.console import Console

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError
from rvtool.verbs.collect import Settings, run


def collect(path, out, **changes):
    told = StringIO()
    settings = Settings(source="folder", config={"path": path, **changes.pop("config", {})}, out=out, **changes)
    return run(settings, Console(file=told, width=300)), told.getvalue()


def test_a_folder_becomes_a_dataset_with_its_very_bytes(tmp_path, blobs):
    source = blobs()
    result, told = collect(source, tmp_path / "d", split="50/25/25", seed=3)
    assert result["images"] == 40
    assert told.strip().splitlines()[-1] == str(tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert dataset.classes("label") == ("one", "two")
    assert (tmp_path / "d/images/one/000.png").read_bytes() == (source / "one/000.png").read_bytes()
    again, _ = collect(source, tmp_path / "e", split="50/25/25", seed=3)
    assert open_dataset(tmp_path / "e").table.equals(dataset.table)
    assert again["splits"] == result["splits"]


def test_cubes_channels_positions_and_facts_reach_the_manifest(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    hdu = fits.PrimaryHDU(np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32))
    hdu.header["BUNIT"] = "Jy/beam"
    hdu.writeto(folder / "a b.fits")
    (folder / "labels.csv").write_text("file,RAJ2000,DEJ2000,redshift\na b.fits,10.5,-3,0.2\n")
    collect(folder, tmp_path / "d", config={"pixel_arcsec": 1.8, "beam_arcsec": 5.4})
    dataset = open_dataset(tmp_path / "d")
    assert dataset.column("plane").tolist() == [0, 1, 2]
    assert dataset.column("redshift").tolist() == [0.2] * 3
    assert dataset.column("ra_deg").tolist() == [10.5] * 3
    assert len(set(dataset.column("group"))) == 1
    assert (
        dataset.info["image"] | {"unit": "Jy/beam", "pixel_arcsec": 1.8, "beam_major_arcsec": 5.4}
        == dataset.info["image"]
    )
    np.testing.assert_array_equal(dataset.image(2).data[0], hdu.data[2])


def test_pairs_keep_both_sides(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("x.npy", 4), ("y.npy", 8)):
        np.save(folder / name, np.ones((size, size), np.float32))
    (folder / "labels.csv").write_text("image,target\nx.npy,y.npy\n")
    collect(folder, tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert dataset.image(0).data.shape == (1, 4, 4)
    assert dataset.target(0).data.shape == (1, 8, 8)
    assert dataset.info["target"]["width"] == 8


def test_bad_images_are_listed_and_lose_none_of_the_others(tmp_path, blobs):
    folder = blobs()
    (folder / "one/000.png").write_bytes(b"broken")
    (folder / "one/table.fits").write_bytes(b"")
    fits.PrimaryHDU(np.full((8, 8), np.nan, np.float32)).writeto(folder / "one/nan.fits")
    fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.ones(3))]).writeto(folder / "two/table.fits")
    whole = (folder / "two/whole.fits", fits.PrimaryHDU(np.zeros((64, 64), np.float32)))
    whole[1].writeto(whole[0])
    whole[0].write_bytes(whole[0].read_bytes()[:5000])
    result, told = collect(folder, tmp_path / "d")
    assert result["images"] == 39
    with open(tmp_path / "d/failures.csv") as stream:
        failures = {row["id"]: row["reason"] for row in csv.DictReader(stream)}
    assert set(failures) == {"one/000", "one/table", "one/nan", "two/table", "two/whole"}
    assert "not one pixel is known" in failures["one/nan"]
    assert "holds no image" in failures["two/table"]
    assert "5 could not be had" in told
    assert len(open_dataset(tmp_path / "d")) == 39


def test_an_id_never_leads_out_of_the_dataset(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    np.save(folder / "x.npy", np.ones((4, 4), np.float32))
    (folder / "labels.csv").write_text("id,file\n../../escape,x.npy\n")
    collect(folder, tmp_path / "d")
    assert [p.name for p in (tmp_path / "d/images").iterdir()] == ["escape.npy"]
    assert open_dataset(tmp_path / "d").column("id").tolist() == ["../../escape"]


def test_two_ids_of_one_file_name_keep_both_images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(("a b.npy", "a_b.npy", "c d.npy")):
        np.save(folder / name, np.full((4, 4), number, np.float32))
    (folder / "c_d.npy").write_bytes(b"broken")
    result, _ = collect(folder, tmp_path / "d")
    dataset = open_dataset(tmp_path / "d")
    assert dataset.column("path").tolist() == ["images/a_b.npy", "images/a_b-2.npy", "images/c_d.npy"]
    assert [dataset.image(row).data.max() for row in range(3)] == [0, 1, 2]
    assert [failure["id"] for failure in result["failures"]] == ["c_d"]
    assert len(list((tmp_path / "d/images").iterdir())) == 3


def test_a_bad_pair_leaves_no_file(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("x.npy", "y.npy", "z.npy"):
        np.save(folder / name, np.ones((4, 4), np.float32))
    (folder / "bad.npy").write_bytes(b"broken")
    (folder / "labels.csv").write_text("image,target\nx.npy,y.npy\nz.npy,bad.npy\n")
    collect(folder, tmp_path / "[red]d")
    dataset = open_dataset(tmp_path / "[red]d")
    assert [p.name for p in (dataset.root / "images").iterdir()] == ["x.npy"]
    assert dataset.column("target_sha256").tolist() == [hashlib.sha256((folder / "y.npy").read_bytes()).hexdigest()]


def test_a_path_in_brackets_is_told_as_it_is(tmp_path, blobs):
    _, told = collect(blobs(4), tmp_path / "[red]d")
    assert told.strip().splitlines()[-1] == str(tmp_path / "[red]d")


def test_what_is_wrong_is_told(tmp_path, blobs):
    with pytest.raises(ConfigError, match="needs --path DIR"):
        run(Settings(source="folder", out=tmp_path / "d"), Console(quiet=True))
    with pytest.raises(DataError, match="no folder of images"):
        collect(tmp_path / "nowhere", tmp_path / "d")
    with pytest.raises(ConfigError, match="train/val/test"):
        collect(blobs(), tmp_path / "d", split="70/30")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("x")
    with pytest.raises(DataError, match="exists already; choose another --out"):
        collect(blobs(), tmp_path / "full")
    assert not (tmp_path / "d").exists()


def test_planes_that_a_labels_csv_tells_apart_are_refused_and_lose_nothing(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    fits.PrimaryHDU(np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)).writeto(folder / "c.fits")
    (folder / "labels.csv").write_text("file,plane,label\nc.fits,0,a\nc.fits,1,b\nc.fits,2,a\n")
    assert open_dataset(folder).column("label").tolist() == ["a", "b", "a"]
    with pytest.raises(DataError, match=r"tells the planes of c\.fits apart"):
        collect(folder, tmp_path / "d")
    (folder / "labels.csv").write_text("file,plane,label\nc.fits,0,a\nc.fits,2,a\n")
    with pytest.raises(DataError, match=r"tells the planes of c\.fits apart"):
        collect(folder, tmp_path / "d")
