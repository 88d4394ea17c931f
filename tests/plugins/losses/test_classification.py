import math

import pytest
import torch
from torch.nn import functional

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, LossContext, Side
from rvtool_plugins.losses import CrossEntropyConfig, FocalConfig
from rvtool_plugins.losses.classification import CrossEntropy, Focal

DATA = DataInfo(Side(1, 8, 8), classes=("a", "b", "c"), class_counts=(60, 30, 10))
NONE = LossContext({})
LOGITS = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))
HALVES = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/4 and 3/4
TWO = DataInfo(Side(1, 8, 8), classes=("a", "b"), class_counts=(30, 10))


def test_cross_entropy_by_hand():
    loss = CrossEntropy(CrossEntropyConfig(), TWO)
    assert loss(HALVES, torch.tensor([0]), NONE).item() == pytest.approx(math.log(4))
    assert loss(HALVES, torch.tensor([[0.5, 0.5]]), NONE).item() == pytest.approx(
        0.5 * math.log(4) + 0.5 * math.log(4 / 3)
    )
    smooth = CrossEntropy(CrossEntropyConfig(label_smoothing=0.1), TWO)
    assert smooth(HALVES, torch.tensor([0]), NONE).item() == pytest.approx(0.95 * math.log(4) + 0.05 * math.log(4 / 3))


def test_balanced_weights_are_inverse_frequencies_with_mean_one():
    loss = CrossEntropy(CrossEntropyConfig(class_weights="balanced"), TWO)
    assert loss.weights.tolist() == pytest.approx([40 / (2 * 30), 40 / (2 * 10)])
    assert (30 * loss.weights[0] + 10 * loss.weights[1]).item() / 40 == pytest.approx(1)
    assert loss(HALVES, torch.tensor([1]), NONE).item() == pytest.approx(2 * math.log(4 / 3))


def test_cross_entropy_agrees_with_torch():
    ours = CrossEntropy(CrossEntropyConfig(label_smoothing=0.2), DATA)(LOGITS, LABELS, NONE)
    torch.testing.assert_close(ours, functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.2))


def test_focal_by_hand():
    loss = Focal(FocalConfig(gamma=2), TWO)
    assert loss(HALVES, torch.tensor([0]), NONE).item() == pytest.approx(0.75**2 * math.log(4))
    assert loss(HALVES, torch.tensor([1]), NONE).item() == pytest.approx(0.25**2 * math.log(4 / 3))


def test_alpha_weighs_the_focal_loss_and_not_its_probability():
    loss = Focal(FocalConfig(gamma=2, alpha="balanced"), TWO)
    assert loss(HALVES, torch.tensor([1]), NONE).item() == pytest.approx(2 * 0.25**2 * math.log(4 / 3))


@pytest.mark.parametrize("target", [LABELS, functional.one_hot(LABELS, 3) * 0.7 + 0.1])
@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_focal_without_focus_is_cross_entropy(target, balance):
    focal = Focal(FocalConfig(gamma=0, alpha=balance), DATA)
    cross = CrossEntropy(CrossEntropyConfig(class_weights=balance), DATA)
    torch.testing.assert_close(focal(LOGITS, target, NONE), cross(LOGITS, target, NONE))


@pytest.mark.parametrize("loss", [CrossEntropy(CrossEntropyConfig(), DATA), Focal(FocalConfig(gamma=0.5), DATA)])
def test_certain_answers_keep_finite_gradients(loss):
    logits = torch.tensor([[200.0, 0, 0], [-200.0, 0, 0]], requires_grad=True)
    loss(logits, torch.tensor([0, 0]), NONE).backward()
    assert logits.grad.isfinite().all()


def test_images_of_no_weight_do_not_count():
    loss = CrossEntropy(CrossEntropyConfig(), DATA)
    weighted = loss(LOGITS[:2], LABELS[:2], LossContext({"weight": torch.tensor([3.0, 0.0])}))
    torch.testing.assert_close(weighted, loss(LOGITS[:1], LABELS[:1], NONE))


def test_a_class_without_training_images_weighs_nothing():
    data = DataInfo(Side(1, 8, 8), classes=("a", "b", "c"), class_counts=(10, 0, 30))
    assert CrossEntropy(CrossEntropyConfig(class_weights="balanced"), data).weights.tolist() == pytest.approx(
        [2, 0, 2 / 3]
    )


def test_balance_needs_counts():
    with pytest.raises(ConfigError, match="not counted"):
        Focal(FocalConfig(alpha="balanced"), DataInfo(Side(1, 8, 8), classes=("a", "b")))
