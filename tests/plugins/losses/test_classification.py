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


def test_logit_adjustment_by_hand():
    loss = CrossEntropy(CrossEntropyConfig(logit_adjustment=1), TWO)
    # logits 0 and log 3 plus log 3/4 and log 1/4: both 3/4 before the softmax
    assert loss(HALVES, torch.tensor([0]), NONE).item() == pytest.approx(math.log(2))
    assert loss(HALVES, torch.tensor([[0.3, 0.7]]), NONE).item() == pytest.approx(math.log(2))
    half = CrossEntropy(CrossEntropyConfig(logit_adjustment=0.5), TWO)
    expected = math.log(1 + 3 * math.sqrt(1 / 3))  # -log of sqrt(3/4) / (sqrt(3/4) + 3 sqrt(1/4))
    assert half(HALVES, torch.tensor([0]), NONE).item() == pytest.approx(expected)


def test_adjusted_logits_learn_to_answer_for_equally_frequent_classes():
    """Without features the best plain logits are the shares' logarithms; adjusted, all are equal."""
    counts = torch.tensor(DATA.class_counts, dtype=torch.float32)
    shares = (counts / counts.sum())[None]
    for tau, best in ((0.0, shares.log()), (1.0, torch.zeros(1, 3))):
        logits = best.clone().requires_grad_()
        CrossEntropy(CrossEntropyConfig(logit_adjustment=tau), DATA)(logits, shares, NONE).backward()
        torch.testing.assert_close(logits.grad, torch.zeros(1, 3), atol=1e-6, rtol=0)


def test_a_class_without_training_images_has_a_finite_share():
    data = DataInfo(Side(1, 8, 8), classes=("a", "b", "c"), class_counts=(10, 0, 30))
    loss = CrossEntropy(CrossEntropyConfig(logit_adjustment=1), data)
    assert loss.adjustment.exp().tolist() == pytest.approx([10 / 41, 1 / 41, 30 / 41])
    with pytest.raises(ConfigError, match="not counted"):
        CrossEntropy(CrossEntropyConfig(logit_adjustment=1), DataInfo(Side(1, 8, 8), classes=("a", "b")))
