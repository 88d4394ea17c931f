"""Exports hold every image once, in the form that the other tools read."""

import csv
import json
import tarfile

import h5py
import numpy as np
import pytest
from astropy.io import fits

from rvtool.data.dataset import open_dataset
from rvtool.data.writer import DatasetWriter
from rvtool.errors import DataError
from rvtool.verbs.collect import export as module
from rvtool.verbs.collect.export import export

SPLITS = ["train", "train", "val", "train", "test", "train"]
LABELS = ["FR I", "FRII", "FRII", "FRII", None, "FR I"]


@pytest.fixture
def pairs(tmp_path):
    """Six pairs of FITS images, (1, 8, 9) and (1, 4, 4), each of one value; the fourth is of another size."""
    writer = DatasetWriter(tmp_path / "d")
    for number in range(6):
        for side, shape in (("images", (8, 9 + (number == 3))), ("targets", (4, 4))):
            (tmp_path / "d" / side).mkdir(exist_ok=True)
            value = number if side == "images" else 10 * number
            fits.PrimaryHDU(np.full(shape, value, np.float32)).writeto(tmp_path / "d" / side / f"{number}.fits")
    columns = {
        "id": [f"J12.{n}+3" for n in range(6)],
        "path": [f"images/{n}.fits" for n in range(6)],
        "target_path": [f"targets/{n}.fits" for n in range(6)],
        "z": [0.5, None, float("nan"), 1.0, 2.0, 3.0],
        "good": [True, None, False, True, True, True],
        "count": [1, 2, 3, 4, 5, 6],
    }
    writer.rows({**columns, "label": LABELS, "split": SPLITS, "group": list(range(6))})
    sides = {"image": {"unit": "Jy/beam", "pixel_arcsec": 1.8, "channels": 1, "height": 8, "width": 9}}
    sides["target"] = {"unit": "K", "channels": 1, "height": 4, "width": 4}
    return writer.finish(sides)[0]


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def test_webdataset_holds_files_and_rows_by_split(pairs, tmp_path):
    written = export(pairs, "webdataset", tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in written] == [
        f"webdataset/{part}-000000.tar" for part in ("test", "train", "val")
    ]
    train = members(written[1])
    assert list(train) == sorted(train)
    assert {name.partition(".")[0] for name in train} == {"0000001", "0000002", "0000004", "0000006"}
    assert train["0000002.fits"] == (pairs.root / "images/1.fits").read_bytes()
    assert train["0000002.target.fits"] == (pairs.root / "targets/1.fits").read_bytes()
    record = json.loads(train["0000002.json"])
    assert record["id"] == "J12.1+3"
    assert record["label"] == "FRII"
    assert "z" not in record  # unknown
    assert "z" not in json.loads(members(written[2])["0000003.json"])  # no number


def test_webdataset_is_the_same_bytes_every_time(pairs, tmp_path):
    first = [p.read_bytes() for p in export(pairs, "webdataset", tmp_path / "a")]
    assert first == [p.read_bytes() for p in export(pairs, "webdataset", tmp_path / "b")]
    with tarfile.open(tmp_path / "a/webdataset/train-000000.tar") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar.getmembers()} == {(0, 0, 0, "")}


def test_shards_are_limited_and_those_of_an_earlier_export_go(pairs, tmp_path, monkeypatch):
    size = sum((pairs.root / side / "0.fits").stat().st_size for side in ("images", "targets"))
    monkeypatch.setattr(module, "SHARD_BYTES", int(2.5 * size))
    small = export(pairs, "webdataset", tmp_path)
    names = [p.name for p in small]
    assert names == ["test-000000.tar", "train-000000.tar", "train-000001.tar", "val-000000.tar"]
    assert [len(members(p)) // 3 for p in small] == [1, 2, 2, 1]
    monkeypatch.undo()
    (tmp_path / "webdataset" / "notes.csv").write_text("mine")
    export(pairs, "webdataset", tmp_path)
    assert sorted(p.name for p in (tmp_path / "webdataset").iterdir()) == [
        "notes.csv",
        "test-000000.tar",
        "train-000000.tar",
        "val-000000.tar",
    ]


def test_a_sample_larger_than_a_shard_has_one_of_its_own(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 10)
    assert len(export(pairs, "webdataset", tmp_path)) == 6


def test_planes_of_one_file_become_arrays_of_their_own(tmp_path):
    writer = DatasetWriter(tmp_path / "d")
    np.save(tmp_path / "d/x.npy", np.arange(3, dtype=np.float32)[:, None, None, None] * np.ones((3, 2, 4, 4), "f4"))
    writer.rows({"id": ["a", "b"], "path": ["x.npy"] * 2, "plane": [1, 2], "split": ["test"] * 2, "group": [0, 1]})
    dataset = writer.finish({"image": {"channels": 2, "height": 4, "width": 4}})[0]
    found = members(export(dataset, "webdataset", tmp_path / "out")[0])
    assert list(found) == ["0000001.json", "0000001.npy", "0000002.json", "0000002.npy"]
    (tmp_path / "one.npy").write_bytes(found["0000002.npy"])
    assert np.array_equal(np.load(tmp_path / "one.npy"), np.full((2, 4, 4), 2, np.float32))
    stack = np.load(export(dataset, "npy", tmp_path / "out")[0])
    assert stack.shape == (2, 2, 4, 4)
    assert stack[:, 0, 0, 0].tolist() == [1, 2]


def test_hdf5_holds_images_columns_and_units(pairs, tmp_path):
    path, left_out = export(pairs, "hdf5", tmp_path)
    with h5py.File(path) as file:
        assert set(file) == {"train", "val", "test"}
        train = file["train"]
        assert train["image"].shape == (3, 1, 8, 9)
        assert train["image"].dtype == np.float32
        assert train["image"][:, 0, 0, 0].tolist() == [0, 1, 5]
        assert train["target"][:, 0, 3, 3].tolist() == [0, 10, 50]
        assert dict(train["image"].attrs) == {"unit": "Jy/beam", "pixel_arcsec": 1.8}
        assert train["target"].attrs["unit"] == "K"
        assert train["id"].asstr()[:].tolist() == ["J12.0+3", "J12.1+3", "J12.5+3"]
        assert np.array_equal(train["z"][:], [0.5, np.nan, 3.0], equal_nan=True)
        assert np.array_equal(train["good"][:], [1.0, np.nan, 1.0], equal_nan=True)
        assert train["count"][:].tolist() == [1, 2, 6]
        assert file["test"]["label"].asstr()[:].tolist() == [""]
    rows = list(csv.reader(left_out.open()))
    assert rows == [["id", "reason"], ["J12.3+3", "the image is 1x8x10, not 1x8x9"]]


def test_npy_holds_an_array_for_each_split_and_class(pairs, tmp_path):
    written = export(pairs, "npy", tmp_path)
    names = {p.name for p in written}
    assert {n for n in names if n.endswith("target.npy")} == {
        "train_FR-I.target.npy", "train_FRII.target.npy", "val_FRII.target.npy", "test_unlabelled.target.npy",
    }  # fmt: skip
    folder = tmp_path / "npy"
    assert np.load(folder / "train_FR-I.npy", mmap_mode="r")[:, 7, 8].tolist() == [0, 5]
    assert np.load(folder / "train_FR-I.npy").shape == (2, 8, 9)
    assert np.load(folder / "train_FR-I.target.npy")[:, 0, 0].tolist() == [0, 50]
    rows = list(csv.DictReader((folder / "train_FR-I.csv").open()))
    assert [row["id"] for row in rows] == ["J12.0+3", "J12.5+3"]
    assert np.load(folder / "train_FRII.npy").shape == (1, 8, 9)
    assert list(csv.reader((folder / "left-out.csv").open()))[1][0] == "J12.3+3"


def test_arrays_of_a_class_that_is_gone_go_too(pairs, tmp_path):
    export(pairs, "npy", tmp_path)
    written = export(pairs.where(["label=FR I"]), "npy", tmp_path)
    assert {p.name for p in written} == {"train_FR-I.npy", "train_FR-I.target.npy", "train_FR-I.csv"}
    assert set((tmp_path / "npy").iterdir()) == set(written)


def test_what_cannot_be_exported_is_told(pairs, tmp_path):
    info = {**pairs.info, "image": {"channels": 1, "height": 5, "width": 5}}
    with pytest.raises(DataError, match="has no image to export: the image is 1x8x9, not 1x5x5"):
        export(type(pairs)(pairs.root, info, pairs.table), "hdf5", tmp_path / "a")
    (pairs.root / "images/2.fits").unlink()
    with pytest.raises(DataError, match=r"images/2.fits cannot be exported"):
        export(pairs, "webdataset", tmp_path / "b")
    assert not list((tmp_path / "b").rglob("*val*"))


def test_two_classes_of_one_file_name_are_told(pairs, tmp_path):
    labels = pairs.table.column_names.index("label")
    table = pairs.table.set_column(labels, "label", [["FR I", "FR:I", "a", "a", "a", "a"]])
    with pytest.raises(DataError, match="Classes FR I, FR:I would share a file"):
        export(type(pairs)(pairs.root, pairs.info, table), "npy", tmp_path)


def test_pictures_are_exported_as_they_are(blobs, tmp_path):
    dataset = open_dataset(blobs(count=20))
    found = {name: body for p in export(dataset, "webdataset", tmp_path / "out") for name, body in members(p).items()}
    assert found["0000001.png"] == (dataset.root / dataset.column("path")[0]).read_bytes()
    assert len(found) == 40
    written = export(dataset, "npy", tmp_path / "out")
    assert sum(len(np.load(p)) for p in written if p.suffix == ".npy") == 20
