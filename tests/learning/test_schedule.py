import math

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import Losses, Model, ModelConfig, Schedule
from rvtool.learning.schedule import factor


@pytest.mark.parametrize(
    ("step", "kind", "expected"),
    [
        (0, "constant", 1.0),
        (700, "constant", 1.0),
        (0, "cosine", 1.0),
        (350, "cosine", 0.5),
        (175, "cosine", (1 + math.sqrt(0.5)) / 2),
        (700, "cosine", 0.0),
        (900, "cosine", 0.0),
        (0, "cosine-restarts", 1.0),
        (50, "cosine-restarts", 0.5),
        (100, "cosine-restarts", 1.0),
        (200, "cosine-restarts", 0.5),
        (300, "cosine-restarts", 1.0),
        (500, "cosine-restarts", 0.5),
        (700, "cosine-restarts", 0.0),
        (350, "polynomial", 0.5**0.95),
        (700, "polynomial", 0.0),
    ],
)
def test_known_values(step, kind, expected):
    assert factor(step, 700, kind) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["constant", "cosine", "cosine-restarts", "polynomial"])
def test_warm_up_is_linear_and_the_rest_starts_at_one(kind):
    assert [factor(s, 110, kind, 10) for s in range(11)] == pytest.approx([0.1 * (s + 1) for s in range(10)] + [1.0])


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        Schedule("cosin", 10)


class Toy(Model):
    def __init__(self, manual):
        super().__init__(ModelConfig(learning_rate=0.5), DataInfo(Side(1, 8, 8)), Losses())
        self.automatic_optimization = not manual
        self.one, self.two = nn.Linear(1, 1), nn.Linear(1, 1)
        self.rates = []

    def configure_optimizers(self):
        one = torch.optim.SGD(self.one.parameters(), 0.5)
        return one if self.automatic_optimization else (one, torch.optim.SGD(self.two.parameters(), 0.25))

    def training_step(self, batch, batch_idx):
        self.rates.append(tuple(o.param_groups[0]["lr"] for o in self.trainer.optimizers))
        if self.automatic_optimization:
            return self.one(batch).mean()
        for optimizer, layer in zip(self.optimizers(), (self.one, self.two), strict=True):
            self.descend(optimizer, layer(batch).mean(), batch_idx)
        return None


@pytest.mark.parametrize("manual", [False, True])
def test_every_optimiser_follows_the_steps_and_not_the_batches(manual):
    model = Toy(manual)
    model.accumulate = 2
    schedule = Schedule("cosine", total_steps=6, warmup_steps=1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[schedule],
        accumulate_grad_batches=1 if manual else 2,
    )
    trainer.fit(model, DataLoader(torch.zeros(5, 1)))  # 5 batches: 3 steps an epoch, the last of one batch
    expected = [factor(step, 6, "cosine", 1) for step in (0, 0, 1, 1, 2, 3, 3, 4, 4, 5)]
    assert [rates[0] for rates in model.rates] == pytest.approx([0.5 * e for e in expected])
    if manual:
        assert [rates[1] for rates in model.rates] == pytest.approx([0.25 * e for e in expected])
