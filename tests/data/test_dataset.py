import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from rvtool.data.batches import prepare
from rvtool.data.dataset import Dataset, open_dataset, with_splits, words_of
from rvtool.data.pack import open_pack
from rvtool.data.writer import DatasetWriter
from rvtool.errors import ConfigError, DataError


def labelled(folder, text, files=("a.png", "b.png")):
    from PIL import Image

    folder.mkdir(exist_ok=True)
    for number, name in enumerate(files):
        Image.fromarray(np.full((8, 8), number + 1, np.uint8)).save(folder / name)
    (folder / "labels.csv").write_text(text)
    return folder


def test_a_folder_of_class_folders_is_a_dataset(blobs):
    dataset = open_dataset(blobs())
    assert len(dataset) == 40
    assert dataset.classes("label") == ("one", "two")
    assert set(dataset.column("split")) == {"train", "val", "test"}
    assert dataset.image(0).data.shape == (1, 24, 24)


def test_a_labels_csv_gives_rows_and_columns(tmp_path):
    text = "file,label,RA,DEC,z,fold\na.png,x,10,20,0.1,0\nb.png,y,11,20,0.2,1\n"
    dataset = open_dataset(labelled(tmp_path / "d", text))
    assert dataset.column("ra_deg").tolist() == [10, 11]
    assert dataset.column("z").tolist() == [0.1, 0.2]
    assert dataset.where(["label=y"]).column("id").tolist() == ["b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,label\na.png,x\na.png,y\n", "gives 'a' two labels, 'x' and 'y'"),
        ("id,file,label\n7,a.png,x\n7,b.png,y\n", "gives '7' two labels"),
        ("name,label\na.png,x\n", "no column 'file'"),
        ("file,label\nmissing.png,x\n", "names 1 files that are not in"),
        ("file,label\na.png\n", "cannot be read as CSV"),
        ("file,plane,label\na.png,0,x\na.png,0,y\n", "two labels"),
        ("file,plane\na.png,first\n", "'plane' that is no whole number"),
        ("file,label\na.png,x\n,y\n", "names no file in row 2"),
        (
            "file,ra,dec\na.png,12:00:01,+3:00:00\nb.png,1,2\n",
            "'12:00:01' in column 'ra_deg'; positions must be in degrees",
        ),
        ("file,ra,dec\na.png,12:00:01,2\n", "'12:00:01' in column 'ra_deg'"),
    ],
)
def test_a_wrong_labels_csv_is_told(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        open_dataset(labelled(tmp_path / "d", text))


def test_equal_images_share_a_group(tmp_path):
    folder = labelled(tmp_path / "d", "file\na.png\nb.png\nc.png\n", ("a.png", "b.png"))
    (folder / "c.png").write_bytes((folder / "a.png").read_bytes())
    groups = open_dataset(folder).column("group")
    assert groups[0] == groups[2] != groups[1]


def test_close_positions_share_a_group(tmp_path):
    text = "file,ra,dec\na.png,10,20\nb.png,10.01,20\n"
    assert len(set(open_dataset(labelled(tmp_path / "d", text)).column("group"))) == 1


def cutout(path, value, position=None, **cards):
    hdu = fits.PrimaryHDU(np.full((16, 16), value, np.float32))
    if position:
        hdu.header.update({
            "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": position[0], "CRVAL2": position[1], "CRPIX1": 8.5,
            "CRPIX2": 8.5, "CDELT1": -0.01, "CDELT2": 0.01, **cards,
        })  # fmt: skip
    hdu.writeto(path)


def test_positions_come_from_the_headers_and_the_others_group_by_content(tmp_path):
    for name, value, position in [
        ("a", 1, (10, 20)), ("b", 2, (10.2, 20)), ("c", 3, (50, 20)), ("d", 4, None), ("e", 4, None), ("f", 5, None),
    ]:  # fmt: skip
        cutout(tmp_path / f"{name}.fits", value, position)
    dataset = open_dataset(tmp_path)
    assert dataset.column("ra_deg")[:3] == pytest.approx([10, 10.2, 50])
    assert np.isnan(dataset.column("ra_deg")[3:]).all()
    a, b, c, d, e, f = dataset.column("group")
    assert a == b  # 11.3 arcmin apart: more than a side of 9.6, less than the diagonal
    assert d == e
    assert len({a, c, d, f}) == 4


def test_a_position_that_the_table_lacks_comes_from_the_header(tmp_path):
    cutout(tmp_path / "a.fits", 1, (10, 20))
    cutout(tmp_path / "b.fits", 2, (30, 40))
    (tmp_path / "labels.csv").write_text("file,ra,dec\na.fits,11,21\nb.fits,,\n")
    assert open_dataset(tmp_path).column("ra_deg") == pytest.approx([11, 30])


def test_the_default_radius_is_a_cutouts_diagonal(tmp_path):
    cutout(tmp_path / "a.fits", 1, (10, 20))
    dataset = open_dataset(tmp_path)
    _, told = with_splits(
        dataset.table.drop_columns(["group", "split"]), tmp_path, dataset.info,
        split="70/15/15", seed=0, group_arcmin=None,
    )  # fmt: skip
    assert told == "positions closer than 13.6 arcmin share a group (a cutout's diagonal)"


def test_the_planes_that_a_labels_csv_names_are_images(tmp_path):
    np.save(tmp_path / "cube.npy", np.ones((3, 1, 4, 4), np.float32) * np.arange(3).reshape(3, 1, 1, 1))
    np.save(tmp_path / "two.npy", np.ones((2, 1, 4, 4), np.float32))
    (tmp_path / "labels.csv").write_text("file,plane,label\ncube.npy,2,x\ncube.npy,0,y\ncube.npy,2,x\ntwo.npy,,z\n")
    dataset = open_dataset(tmp_path)
    assert dataset.column("id").tolist() == ["cube:2", "cube:0", "two:0", "two:1"]
    assert dataset.column("label").tolist() == ["x", "y", "z", "z"]
    assert dataset.image(0).data.max() == 2


def test_a_stack_of_arrays_gives_an_image_each(tmp_path):
    np.save(tmp_path / "stack.npy", np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype(np.float32))
    dataset = open_dataset(tmp_path)
    assert dataset.column("id").tolist() == ["stack:0", "stack:1", "stack:2"]
    assert len(set(dataset.column("group"))) == 3


def test_files_of_one_stem_and_images_of_one_id_stay_apart(tmp_path):
    folder = labelled(tmp_path / "d", "file\na.png\na.jpg\nb.png\n", ("a.png", "a.jpg", "b.png"))
    assert sorted(open_dataset(folder).column("id")) == ["a.jpg", "a.png", "b"]
    (folder / "labels.csv").write_text("id,file\n7,a.png\n7,b.png\n")
    assert open_dataset(folder).column("id").tolist() == ["7", "7-2"]


def test_a_file_that_is_missing_loses_none_of_the_others(tmp_path):
    dataset = open_dataset(labelled(tmp_path / "d", "file,label\na.png,x\ngone.fits,x\nb.png,y\n"))
    assert len(dataset) == 3
    assert dataset.digest
    pack = open_pack(dataset)
    assert [why.endswith("gone.fits does not exist; check the path.") for why in pack.failures.values()] == [True]


def test_blank_cells_are_no_label(tmp_path):
    files = ("a.png", "b.png", "c.png", "d.png")
    text = "file,label,kind,fold,n\na.png,1,x,0,1\nb.png,,,,\nc.png,2,NA,1,2\nd.png,1,y,2,3\n"
    dataset = open_dataset(labelled(tmp_path / "d", text, files))
    assert dataset.classes("label") == ("1", "2")
    assert dataset.classes("kind") == ("NA", "x", "y")
    assert dataset.classes("n") == ("1", "2", "3")
    assert dataset.words("fold").tolist() == ["0", None, "1", "2"]
    assert dataset.where(["n=2,3"]).column("id").tolist() == ["c", "d"]
    with pytest.raises(ConfigError, match="values NA, x, y"):
        dataset.where(["kind=None"])
    material = prepare(dataset, label_column="n", fold=1)
    assert material.labels.tolist() == [0, -1, 1, 2]
    assert material.split[2] == "test"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array([1.0, None, float("nan"), 3.0]), ["1", None, None, "3"]),
        (pa.array([1.5, None, 2.0]), ["1.5", None, "2.0"]),
        (pa.array([1, None]), ["1", None]),
        (pa.array([True, None]), ["True", None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_words_keep_what_is_not_there_apart(values, words):
    assert words_of(pa.chunked_array([values])).tolist() == words


def test_the_digest_knows_every_column_and_the_pack_only_the_pixels(tmp_path):
    table = {
        "id": ["a", "b"], "path": ["a.png", "b.png"], "sha256": ["1", "2"], "label": ["x", None],
        "split": ["train"] * 2,
        "group": [0, 1], "fold": [0, None], "z": [0.5, None], "flag": [True, None], "tags": [["p"], None],
    }  # fmt: skip
    first = Dataset(tmp_path, {}, pa.table(table))
    halves = pa.concat_tables([first.table.slice(0, 1), first.table.slice(1)])
    again = Dataset(tmp_path, {}, halves.set_column(3, "label", halves["label"].dictionary_encode()))
    assert (again.digest, again.pixels_digest) == (first.digest, first.pixels_digest)
    changes = {
        "label": ["x", ""], "split": ["train", "val"], "group": [0, 0], "fold": [0, 0], "z": [0.5, 0.0],
        "flag": [True, False], "tags": [["p"], []],
    }  # fmt: skip
    for name, values in changes.items():
        other = Dataset(tmp_path, {}, pa.table({**table, name: values}))
        assert other.digest != first.digest, name
        assert other.pixels_digest == first.pixels_digest, name
    for name, values in {"sha256": ["1", "3"], "target_sha256": ["1", "2"], "plane": [0, 1]}.items():
        assert Dataset(tmp_path, {}, pa.table({**table, name: values})).pixels_digest != first.pixels_digest, name


def test_a_changed_file_is_packed_anew_on_either_side(tmp_path):
    for name in ("x", "y"):
        np.save(tmp_path / f"{name}.npy", np.ones((4, 4), np.float32))
    (tmp_path / "labels.csv").write_text("image,target\nx.npy,y.npy\n")
    for side in ("x", "y"):
        before = open_dataset(tmp_path)
        digests = before.digest, before.pixels_digest
        np.save(tmp_path / f"{side}.npy", np.full((5, 5), 2, np.float32))
        after = open_dataset(tmp_path)
        assert after.digest != digests[0]
        assert after.pixels_digest != digests[1]
    assert open_pack(after, side="target").pixels.max() == 2


def test_conditions_are_checked(blobs):
    dataset = open_dataset(blobs())
    with pytest.raises(ConfigError, match="COLUMN=VALUE"):
        dataset.where(["label"])
    with pytest.raises(ConfigError, match="did you mean 'label'"):
        dataset.where(["lable=one"])
    with pytest.raises(ConfigError, match="values one, two"):
        dataset.where(["label=three"])


def test_an_interrupted_writing_is_told_and_loses_nothing(tmp_path):
    writer = DatasetWriter(tmp_path / "d")
    writer.write("images/a.npy", b"data")
    with pytest.raises(DataError, match="incomplete: its writing was interrupted"):
        open_dataset(tmp_path / "d")
    with pytest.raises(DataError, match="choose another --out"):
        DatasetWriter(tmp_path / "d")
    assert (tmp_path / "d/images/a.npy").read_bytes() == b"data"


def test_a_written_dataset_opens_and_keeps_its_splits(tmp_path):
    writer = DatasetWriter(tmp_path / "d")
    np.save(tmp_path / "x.npy", np.zeros((4, 4), np.float32))
    for number in range(20):
        writer.write(f"images/{number}.npy", (tmp_path / "x.npy").read_bytes())
    paths = [f"images/{n}.npy" for n in range(20)]
    writer.rows({"id": [str(n) for n in range(20)], "path": paths, "label": ["a", "b"] * 10, "group": list(range(20))})
    dataset, _ = writer.finish({"image": {"unit": "Jy/beam"}}, split="50/25/25", seed=3)
    again = open_dataset(tmp_path / "d")
    assert again.table.equals(dataset.table)
    assert set(again.column("split")) == {"train", "val", "test"}
    assert again.digest == dataset.digest
    with pytest.raises(DataError, match="exists already"):
        DatasetWriter(tmp_path / "d")


def test_missing_and_empty_folders_are_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        open_dataset(tmp_path / "empty")


@pytest.mark.shared
def test_the_real_pool_keeps_close_images_together(shared):
    dataset = open_dataset(shared / "first-4class")
    assert len(dataset) == 1758
    split, group = dataset.column("split"), dataset.column("group")
    assert len(set(zip(group, split, strict=True))) == len(set(group))
    assert len(set(group)) < len(group)


def with_excluded(folder, **columns):
    """Write 40 images of 2 classes, the first of each class excluded."""
    writer = DatasetWriter(folder)
    np.save(folder / "x.npy", np.ones((4, 4), np.float32))
    reasons = ["two sources", "blurred", *[None] * 38]
    rows = {"id": [f"i{n}" for n in range(40)], "path": ["x.npy"] * 40, "label": ["a", "b"] * 20, "excluded": reasons}
    writer.rows(rows | {"group": list(range(40))} | columns)
    return writer.finish({"image": {"unit": ""}}, split="50/25/25", seed=1)[0]


def test_excluded_rows_stay_in_the_manifest_and_are_not_given(tmp_path):
    written = with_excluded(tmp_path / "d")
    given, whole = open_dataset(tmp_path / "d"), open_dataset(tmp_path / "d", excluded=True)
    assert written.table.equals(given.table)
    assert len(given) == given.info["images"] == 38
    assert "excluded" not in given
    assert "i0" not in given.column("id")
    assert whole.column("id").tolist() == [f"i{n}" for n in range(40)]
    assert whole.column("excluded").tolist()[:3] == ["two sources", "blurred", None]


@pytest.mark.parametrize("given", [{}, {"split": ["train", "test"] * 20}])
def test_excluded_rows_belong_to_no_split_and_move_no_other(tmp_path, given):
    with_excluded(tmp_path / "d", **given)
    whole = open_dataset(tmp_path / "d", excluded=True).column("split").tolist()
    assert whole[:2] == [None, None]
    before = with_excluded(tmp_path / "before", **given, excluded=[None] * 40).column("split").tolist()
    assert whole[2:] == before[2:]


def test_a_dataset_of_excluded_images_only_is_told(tmp_path):
    with pytest.raises(DataError, match="no image that is not excluded"):
        with_excluded(tmp_path / "d", excluded=["bad"] * 40)


def test_an_excluded_image_changes_the_digest(tmp_path):
    first = with_excluded(tmp_path / "a")
    other = with_excluded(tmp_path / "b", excluded=["two sources", *[None] * 39])
    assert first.digest != other.digest


@pytest.mark.parametrize("reasons", ['"",blurred', "False,True", ",1"])
def test_a_labels_csv_may_exclude_images(tmp_path, reasons):
    first, second = reasons.split(",")
    folder = labelled(tmp_path / "d", f"file,excluded\na.png,{first}\nb.png,{second}\n")
    dataset = open_dataset(folder)
    assert dataset.column("id").tolist() == ["a"]
    assert dataset.column("split").tolist() == [open_dataset(folder, excluded=True).column("split")[0]]
    assert open_dataset(folder, excluded=True).column("split")[1] is None
