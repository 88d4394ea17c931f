"""Several moves as one."""

import pytest
import torch

from rvtool.data.batches import Prepare
from rvtool.data.moves import Move
from rvtool.data.stretch import FittedStretch, Stretch
from rvtool.kinds import DataInfo, Side
from rvtool.plugins import component


def blob(x, y, size=65):
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18.0)[None, None]


def moves():
    angle = torch.tensor(0.6)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    first = Move(turn[None], {})
    second = Move(torch.eye(2)[None], {"image": torch.tensor([[5.5, -3.25]]), "target": torch.tensor([[1.0, 2.0]])})
    third = Move(torch.eye(2)[None] / 1.3, {"image": torch.tensor([[-2.0, 1.5]])})
    return first, second, third


def test_moves_as_one_are_the_moves_one_by_one():
    batch = {"image": blob(40, 30), "target": blob(25, 33)}
    one_by_one = batch
    for move in moves():
        one_by_one = move.apply(one_by_one)
    first, second, third = moves()
    for together in (first.then(second).then(third), first.then(second.then(third))):
        out = together.apply(batch)
        for name in batch:
            assert (out[name] - one_by_one[name]).abs().max() < 0.06  # each further interpolation smooths a little
            assert out[name].max() > one_by_one[name].max()


def test_only_quarters_keep_to_the_nearest_pixel():
    quarter = Move(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]]), {}, "nearest")
    half = Move(torch.eye(2)[None], {"image": torch.tensor([[0.5, 0.0]])})
    assert quarter.then(quarter).mode == "nearest"
    assert quarter.then(half).mode == half.then(quarter).mode == "bilinear"
    image = torch.rand(1, 1, 6, 6)
    out = quarter.then(quarter).apply({"image": image})["image"]
    assert torch.equal(out, torch.rot90(image, 2, (-2, -1)))


def test_a_batch_is_interpolated_once(monkeypatch):
    data = DataInfo(Side(1, 16, 16))
    names = ("rotate-flip", "shift", "noise", "scale")
    built = [component("augmenter", name) for name in names]
    augmenters = [one.load()(one.configure(), data) for one in built]
    raw = {
        "image": torch.rand(4, 1, 16, 16),
        "image_statistics": torch.tensor([[0.0, 0.1, 1.0]]).repeat(4, 1),
        "draw": torch.tensor([5]),
    }
    count = []
    monkeypatch.setattr(Move, "apply", lambda self, batch: count.append(self) or batch)
    Prepare(FittedStretch(Stretch(), 1.0), None, augmenters)(raw, augment=True)
    assert len(count) == 2  # before the noise, and after it
    assert count[0].offsets_px["image"].abs().max() > 0
    assert count[0].matrices[0].det().abs().item() == pytest.approx(1)
