import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from rvtool.errors import DataError
from rvtool.kinds import DataInfo, Predicts, Side
from rvtool.learning import Classifier, Losses, ModelConfig
from rvtool.learning.losses import Part

DATA = DataInfo(Side(1, 4, 4), classes=("a", "b", "c"))


class SoftCrossEntropy(nn.Module):
    role = "classification"

    def forward(self, prediction, target, context):
        return nn.functional.cross_entropy(prediction, target)


class Linear(Classifier):
    head = "1"

    def __init__(self, data=DATA):
        torch.manual_seed(0)
        super().__init__(ModelConfig(), data, Losses([Part("ce", 2.0, SoftCrossEntropy())]))
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def batches(soft):
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        label = torch.randint(3, (8,), generator=generator)
        image = torch.randn(8, 1, 4, 4, generator=generator)
        yield {"image": image, "label": nn.functional.one_hot(label, 3).float() if soft else label}


def fit(soft):
    model = Linear()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        model,
        DataLoader(list(batches(soft)), batch_size=None),
        DataLoader(list(batches(soft=False)), batch_size=None),
    )
    return model, {name: value.item() for name, value in trainer.callback_metrics.items()}


def test_everything_is_logged_by_name():
    model, logged = fit(soft=False)
    assert set(logged) == {
        "train/loss", "train/ce", "train/accuracy", "val/loss", "val/ce", "val/accuracy", "val/macro-f1",
        "val/balanced-accuracy",
    }  # fmt: skip
    assert logged["train/loss"] == pytest.approx(2 * logged["train/ce"])
    every = list(batches(soft=False))
    image, label = (torch.cat([b[key] for b in every]) for key in ("image", "label"))
    answers = model.predict({"image": image}).argmax(1)
    assert logged["val/accuracy"] == pytest.approx((answers == label).float().mean().item())


def test_mixed_labels_train_and_are_not_counted():
    _, logged = fit(soft=True)
    assert "train/accuracy" not in logged
    assert logged["train/loss"] > 0


def test_answers_are_probabilities_and_features_are_what_the_head_sees():
    model, batch = Linear(), next(batches(soft=False))
    assert isinstance(model, Predicts)
    probabilities = model.predict(batch)
    assert probabilities.shape == (8, 3)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(8))
    assert torch.equal(model.features(batch), batch["image"].flatten(1))


def test_one_class_is_not_enough():
    with pytest.raises(DataError, match="--label-column"):
        Linear(DataInfo(Side(1, 4, 4), classes=("a",)))
