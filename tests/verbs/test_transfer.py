"""Beginning with another run's weights: what is taken, frozen, thawed, slowed, and refused."""

import csv
from io import StringIO

import pytest
import torch
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.learning import Thaw
from rvtool.runs.run import load_run
from rvtool.verbs.train import Settings, run

TINY = {"channels": "4,8", "hidden": 8, "batch_norm": True}
BASE = {"model": "alhassan-cnn", "config": TINY, "gpus": 0, "crop": 24, "batch_size": 8, "augment": ("none",)}


def train(folder, out, **changes):
    told = StringIO()
    run(Settings(**{**BASE, "data": folder, "out": out, "epochs": 1, **changes}), Console(file=told, width=300))
    return load_run(out), told.getvalue()


@pytest.fixture
def first(tmp_path, blobs):
    return train(blobs(), tmp_path / "first")[0]


def body(found):
    """The weights and statistics of the convolutions' layers."""
    return {name: value for name, value in found.weights.items() if name.startswith("network.body")}


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_is_frozen_keeps_its_weights_and_its_statistics_and_what_is_thawed_learns(tmp_path, first):
    data = first.record["dataset"]["path"]
    frozen, told = train(data, tmp_path / "frozen", from_=str(first.path), unfreeze_epoch=2, epochs=2)
    assert f"begins with 100.0% of the backbone's weights from {first.path}" in told
    assert equal(body(first), body(frozen))
    assert not torch.equal(first.weights["network.head.weight"], frozen.weights["network.head.weight"])
    thawed, _ = train(data, tmp_path / "thawed", from_=str(first.path), unfreeze_epoch=1, epochs=2)
    assert not any(
        torch.equal(value, body(thawed)[name]) for name, value in body(first).items() if name.endswith("weight")
    )


def test_layers_thaw_from_the_last_to_the_first():
    gradual = Thaw(3, every=2)
    assert [gradual.frozen(4, epoch) for epoch in range(11)] == [4, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert [Thaw(2).frozen(4, epoch) for epoch in range(4)] == [4, 4, 0, 0]


def test_the_backbone_may_learn_more_slowly(tmp_path, first):
    data = first.record["dataset"]["path"]
    slow, _ = train(data, tmp_path / "slow", from_=str(first.path), backbone_rate=1e-6)
    for name, value in body(first).items():
        if name.endswith(("weight", "bias")):
            torch.testing.assert_close(body(slow)[name], value, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(first.weights["network.head.weight"], slow.weights["network.head.weight"], atol=1e-4)


def test_a_head_for_other_classes_stays_fresh(tmp_path, first, blobs):
    other = blobs(name="other")
    (other / "two").rename(other / "pair")
    found, _ = train(
        other, tmp_path / "new", from_=str(first.path), unfreeze_epoch=1, config={**TINY, "learning_rate": 1e-9}
    )
    assert equal(body(first), body(found))
    assert not torch.allclose(first.weights["network.head.weight"], found.weights["network.head.weight"], atol=1e-3)


def test_weights_of_another_network_are_refused(tmp_path, first):
    data = first.record["dataset"]["path"]
    with pytest.raises(ConfigError, match=r"has 1?[0-9]% of the weights of this model's backbone .*other weights"):
        train(data, tmp_path / "new", from_=str(first.path), config={**TINY, "channels": "16,32", "hidden": 16})
    assert not (tmp_path / "new").exists()


def test_a_run_that_was_trained_on_what_is_held_out_is_refused(tmp_path, blobs):
    folder = blobs()
    with (folder / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "fold"])
        for number, path in enumerate(sorted(folder.glob("*/*.png"))):
            rows.writerow([path.relative_to(folder), path.parent.name, number // 4 % 4])
    zero, _ = train(folder, tmp_path / "zero", fold=0)
    train(folder, tmp_path / "same", fold=0, from_=str(zero.path))
    with pytest.raises(DataError, match=r"was trained on \d+ of the images that this training holds out .*same --fold"):
        train(folder, tmp_path / "other", fold=1, from_=str(zero.path))
    one, _ = train(folder, tmp_path / "seed", fold=0, from_=str(zero.path), seed=5)
    assert one.known.by_id == zero.known.by_id  # every training of a fold validates on the same images


def test_freezing_a_random_start_is_refused(tmp_path, blobs):
    with pytest.raises(ConfigError, match="--from RUN"):
        train(blobs(), tmp_path / "new", unfreeze_epoch=1)


def test_a_curriculum_shows_the_easy_images_first(tmp_path, blobs):
    folder = blobs()
    with (folder / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label", "snr"])
        for number, path in enumerate(sorted(folder.glob("*/*.png"))):
            rows.writerow([path.relative_to(folder), path.parent.name, number])
    easy, _ = train(folder, tmp_path / "easy", epochs=4, curriculum="snr")
    every, _ = train(folder, tmp_path / "all", epochs=4)
    assert easy.record["settings"]["curriculum"] == "snr"
    assert not equal(easy.weights, every.weights)
