import numpy as np
import pytest

from rvtool.data.dataset import open_dataset
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
