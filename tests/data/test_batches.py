from itertools import chain

import numpy as np
import pytest
import torch
from astropy.io import fits

from rvtool.data.batches import Loader, Prepare, prepare
from rvtool.data.dataset import open_dataset
from rvtool.data.pack import open_pack
from rvtool.data.stretch import Stretch, fit
from rvtool.errors import ConfigError, DataError


def test_pixels_come_back_as_packed(blobs):
    dataset = open_dataset(blobs())
    pack = open_pack(dataset)
    assert pack.pixels.dtype == np.uint8
    for row in (0, 7, 39):
        np.testing.assert_array_equal(pack.pixels[row], dataset.image(row).data)
        assert pack.statistics[row, 2] == dataset.image(row).data.max()
    again = open_pack(dataset)
    assert again.pixels.filename == pack.pixels.filename


def test_one_bad_image_loses_none_of_the_others(blobs):
    folder = blobs()
    (folder / "one" / "000.png").write_bytes(b"broken")
    fits.PrimaryHDU(np.full((24, 24), np.nan, np.float32)).writeto(folder / "one" / "nan.fits")
    pack = open_pack(open_dataset(folder))
    assert len(pack.failures) == 2
    assert pack.good.sum() == 39
    assert any("cannot be read as a picture" in why for why in pack.failures.values())
    assert any("not one known pixel" in why for why in pack.failures.values())


def test_different_shapes_need_a_crop(blobs):
    folder = blobs(4)
    for number in range(4):
        fits.PrimaryHDU(np.zeros((30, 26), np.float32)).writeto(folder / "one" / f"wide{number}.fits")
    with pytest.raises(DataError, match="set --crop"):
        open_pack(open_dataset(folder))
    assert open_pack(open_dataset(folder), crop=16).pixels.shape == (8, 1, 16, 16)


@pytest.mark.parametrize("name", ["000", "zzz"])
def test_an_odd_image_loses_none_of_the_others(blobs, name):
    folder = blobs()
    fits.PrimaryHDU(np.zeros((30, 26), np.float32)).writeto(folder / "one" / f"{name}-wide.fits")
    np.save(folder / "one" / f"{name}-colours.npy", np.zeros((3, 24, 24), np.float32))
    pack = open_pack(open_dataset(folder))
    assert pack.pixels.shape == (42, 1, 24, 24)
    assert pack.good.sum() == 40
    assert {why.split("; ")[1] for why in pack.failures.values()} == {
        "set --crop to cut all to one size.", "use images of one kind.",
    }  # fmt: skip


def test_unknown_pixels_are_masked_and_zero_after_the_stretch(tmp_path):
    for number in range(6):
        data = np.random.default_rng(number).normal(5, 1, (8, 8)).astype(np.float32)
        data[0, number] = np.nan
        fits.PrimaryHDU(data).writeto(tmp_path / f"{number}.fits")
    dataset = open_dataset(tmp_path)
    material = prepare(dataset, label_column=None)
    batch = next(
        Prepare(fit(Stretch(), material.image.statistics)).batches(material, np.arange(6), 6, torch.device("cpu"))
    )
    for number in range(6):
        assert not batch["mask"][number, 0, 0, number]
        assert batch["image"][number, 0, 0, number] == 0
    assert batch["mask"].sum() == 6 * 63
    assert torch.isfinite(batch["image"]).all()


def test_the_order_depends_on_seed_and_epoch_alone(blobs):
    material = prepare(open_dataset(blobs()))
    rows = material.rows("train")

    def order(seed, epoch, start=0):
        loader = Loader(material, rows, 4, seed=seed, epoch=lambda: epoch, start=lambda: start)
        return [batch["index"].tolist() for batch in loader]

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3, start=2) == order(0, 3)[2:]
    assert sorted(chain.from_iterable(order(1, 0))) == rows.tolist()


def test_processes_share_an_epoch_without_overlap(blobs):
    material = prepare(open_dataset(blobs()))
    rows = material.rows("train")
    seen = [
        [i for batch in Loader(material, rows, 4, seed=0, rank=rank, world=3) for i in batch["index"].tolist()]
        for rank in range(3)
    ]
    assert len({len(part) for part in seen}) == 1
    assert len(set(chain.from_iterable(seen))) == sum(map(len, seen)) == len(rows) // 3 * 3


def test_labels_follow_the_classes_and_strangers_belong_to_no_part(blobs):
    dataset = open_dataset(blobs())
    material = prepare(dataset, classes=("two",))
    assert set(material.labels) == {-1, 0}
    assert set(dataset.column("label")[material.rows("train", "val", "test")]) == {"two"}
    with pytest.raises(ConfigError, match="no column 'fold'"):
        prepare(dataset, fold=0)
    with pytest.raises(ConfigError, match="did you mean 'label'"):
        prepare(dataset, label_column="lable")


@pytest.mark.parametrize(("count", "size", "sizes"), [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (1, 4, [1])])
def test_no_training_batch_is_of_one_image_if_it_need_not_be(blobs, count, size, sizes):
    material = prepare(open_dataset(blobs()))
    loader = Loader(material, np.arange(count), size, seed=0)
    assert [len(batch["index"]) for batch in loader] == sizes
    assert len(loader) == len(sizes)
    assert sorted(chain.from_iterable(b["index"].tolist() for b in loader)) == list(range(count))


def test_no_process_is_left_without_validation_images(blobs):
    material = prepare(open_dataset(blobs()))
    shares = [[len(b["index"]) for b in Loader(material, np.arange(9), 4, rank=rank, world=2)] for rank in (0, 1)]
    assert shares == [[4, 1], [4, 1]]
