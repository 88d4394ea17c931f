import pytest
import torch

from rvtool.data.batches import Prepare
from rvtool.data.stretch import FittedStretch, Stretch
from rvtool.kinds import DataInfo, Side
from rvtool_plugins.augmenters import CutMixConfig, MixUpConfig
from rvtool_plugins.augmenters.draws import partners, shares
from rvtool_plugins.augmenters.mixing import CutMix, MixUp

CLASSES = 4
DATA = DataInfo(Side(1, 12, 10), classes=tuple("abcd"))
BOTH = pytest.mark.parametrize("mixer", [MixUp(MixUpConfig(alpha=1), DATA), CutMix(CutMixConfig(probability=1), DATA)])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def constant(size=64, height=12, width=10):
    """Images that are as bright as the number of their class, and a target of twice the pixels."""
    label = torch.arange(size) % CLASSES
    image = label.float()[:, None, None, None].expand(size, 1, height, width)
    return {
        "image": image,
        "mask": torch.ones(size, 1, height, width, dtype=torch.bool),
        "target": image.repeat_interleave(2, -1).repeat_interleave(2, -2),
        "label": label,
        "weight": label.float(),
        "index": torch.arange(size),
    }


@BOTH
def test_labels_are_mixed_as_the_pixels_are(mixer):
    before = constant()
    after = mixer(before, generator())
    label = after["label"]
    assert label.shape == (64, CLASSES)
    torch.testing.assert_close(label.sum(1), torch.ones(64))
    assert ((label > 0).sum(1) <= 2).all()
    expected = (label * torch.arange(CLASSES)).sum(1)  # the label's mean is the pixels' mean
    torch.testing.assert_close(after["image"].mean((1, 2, 3)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(after["target"].mean((1, 2, 3)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(after["weight"], expected, atol=1e-5, rtol=0)
    assert torch.equal(after["index"], before["index"])
    own = label[torch.arange(64), before["label"]]
    assert (own < 0.9).float().mean() > 0.3
    assert len(own.unique()) > 20  # every image draws for itself


@BOTH
def test_soft_labels_are_mixed_further(mixer):
    once = mixer(constant(), generator())
    twice = mixer(once, generator(1))
    expected = (twice["label"] * torch.arange(CLASSES)).sum(1)
    torch.testing.assert_close(twice["label"].sum(1), torch.ones(64))
    torch.testing.assert_close(twice["weight"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [2, 3, 17])
def test_everyone_has_a_partner_and_nobody_is_its_own(size):
    for seed in range(20):
        partner = partners(size, generator(seed))
        assert (partner != torch.arange(size)).all()
        assert partner.sort().values.tolist() == list(range(size))


@BOTH
def test_a_single_image_stays(mixer):
    before = constant(1)
    after = mixer(before, generator())
    assert torch.equal(after["image"], before["image"])
    assert after["label"].tolist() == [[1, 0, 0, 0]]


@BOTH
def test_images_without_labels_are_mixed_too(mixer):
    before = {"image": constant()["image"]}
    after = mixer(before, generator())
    assert set(after) == {"image"}
    assert not torch.equal(after["image"], before["image"])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_from_a_beta_distribution(alpha):
    drawn = shares(alpha, 1.0, 4000, generator())
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)
    assert (shares(alpha, 0.25, 4000, generator()) == 1).float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_cutmix_pastes_one_rectangle_in_proportion():
    data = DataInfo(Side(1, 40, 80), classes=("a", "b"))
    before = {"image": torch.arange(32.0)[:, None, None, None].expand(32, 1, 40, 80), "label": torch.arange(32) % 2}
    after = CutMix(CutMixConfig(probability=1), data)(before, generator())["image"][:, 0]
    inner = 0
    for number, image in enumerate(after):
        pasted = image != number
        rows, columns = pasted.any(1).nonzero()[:, 0], pasted.any(0).nonzero()[:, 0]
        if len(rows) == 0:
            continue
        assert pasted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        if rows[0] > 0 and rows[-1] < 39 and columns[0] > 0 and columns[-1] < 79:
            inner += 1
            assert abs(2 * len(rows) - len(columns)) <= 3  # nothing cut off: in the image's proportion
    assert inner > 3


@BOTH
def test_what_is_mixed_of_unknown_pixels_is_unknown_and_zero(mixer):
    before = constant()
    before["mask"] = before["mask"].clone()
    before["mask"][::2, :, :3] = False  # every second image lacks its upper rows
    before["image"] = (before["image"] + 1) * before["mask"]
    after = mixer(before, generator())
    assert (after["image"][~after["mask"]] == 0).all()
    assert (after["image"][after["mask"]] >= 0.999).all()  # where known, nothing is mixed with an unknown 0
    assert after["mask"][:, :, 3:].all()


def test_mixing_comes_after_the_stretch_whatever_the_order():
    """Images of one class are equal after the stretch, however bright; a blend of them is that image again."""

    class Seen:
        axes = ("sky",)

        def __call__(self, batch, generator):
            self.largest = float(batch["image"].max())
            return batch

    seen = Seen()
    shape = torch.rand(1, 1, 12, 10, generator=generator(3))
    shape /= shape.max()
    peaks = torch.logspace(-3, 3, 16)
    raw = {
        "image": peaks[:, None, None, None] * shape,
        "image_statistics": torch.stack([0 * peaks, 0 * peaks, peaks], 1),
        "label": torch.zeros(16, dtype=torch.int64),
        "draw": torch.tensor([5]),
    }
    stretch = FittedStretch(Stretch(scale="image", kind="linear"), 1.0)
    prepare = Prepare(stretch, augmenters=(MixUp(MixUpConfig(alpha=1), DATA), seen))
    batch = prepare(raw, augment=True)
    torch.testing.assert_close(batch["image"], shape.expand(16, 1, 12, 10))
    assert batch["label"].shape == (16, CLASSES)
    assert seen.largest == pytest.approx(1000)  # it came later in the list, and saw the physical unit
    assert prepare(raw)["label"].ndim == 1
