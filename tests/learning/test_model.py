import subprocess
import sys

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from rvtool.kinds import DataInfo, Side
from rvtool.learning import Losses, Model, ModelConfig

DATA = DataInfo(Side(1, 8, 8))


class Pair(Model):
    """Two optimisers; the generator's loss also reaches the discriminator's weights, as in a GAN."""

    def __init__(self):
        super().__init__(ModelConfig(), DATA, Losses())
        self.automatic_optimization = False
        torch.manual_seed(0)
        self.generator = nn.Linear(3, 3)
        self.discriminator = nn.Linear(3, 1)

    def configure_optimizers(self):
        return torch.optim.Adam(self.generator.parameters(), 1e-2), torch.optim.SGD(
            self.discriminator.parameters(), 0.1, momentum=0.9
        )

    def training_step(self, batch, batch_idx):
        generator, discriminator = self.optimizers()
        fake = self.generator(batch)
        # both losses before either step, so that they see the same weights however the batches are cut
        deceived, detected = (self.discriminator(fake) - 1).square().mean(), self.discriminator(fake.detach())
        self.descend(generator, deceived, batch_idx)
        self.descend(discriminator, detected.square().mean(), batch_idx)


def fit(model, data, batch_size, **settings):
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(model, DataLoader(data, batch_size=batch_size))
    return trainer


@pytest.mark.parametrize("count", [16, 12])  # 12: the last group of an epoch is half a group
def test_accumulated_small_batches_equal_one_large(count):
    data = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    whole, parts = Pair(), Pair()
    fit(whole, data, 8)
    parts.accumulate = 4
    fit(parts, data, 2)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert not torch.equal(whole.generator.weight, Pair().generator.weight)


def test_a_loss_only_moves_the_weights_of_its_optimiser():
    class GeneratorOnly(Pair):
        def training_step(self, batch, batch_idx):
            self.descend(self.optimizers()[0], self.discriminator(self.generator(batch)).square().mean(), batch_idx)
            assert all(p.grad is None for p in self.discriminator.parameters())

    model = GeneratorOnly()
    before = [p.clone() for p in model.discriminator.parameters()]
    fit(model, torch.randn(4, 3), 2)
    assert all(torch.equal(a, b) for a, b in zip(before, model.discriminator.parameters(), strict=True))
    assert not torch.equal(model.generator.weight, Pair().generator.weight)


def test_clipping_bounds_the_gradient_of_each_optimiser():
    seen = []

    class Watched(Pair):
        def on_before_optimizer_step(self, optimizer):
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
            seen.append(torch.nn.utils.get_total_norm(gradients).item())

    model = Watched()
    model.clip = 1e-3
    fit(model, 100 * torch.randn(8, 3), 4)
    assert len(seen) == 8  # two epochs of two batches, two optimisers
    assert seen == pytest.approx([1e-3] * 8, rel=1e-3)


def test_only_matrices_and_kernels_decay():
    class Plain(Model):
        def __init__(self):
            super().__init__(ModelConfig(weight_decay=0.5, learning_rate=0.25), DATA, Losses())
            self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    optimizer = Plain().configure_optimizers()
    decays = {tuple(p.shape): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decays == {(2, 1, 3, 3): 0.5, (2,): 0.0}
    assert {g["lr"] for g in optimizer.param_groups} == {0.25}


def test_model_config_costs_no_torch():
    code = "import sys; from rvtool.learning import ModelConfig; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
