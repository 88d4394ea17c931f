"""A training that is killed and resumed ends with the very bits of one that was left alone."""

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from rvtool.kinds import DataInfo, Side
from rvtool.learning import EMA, Losses, Model, ModelConfig, Randomness, Schedule
from rvtool.learning.randomness import derive


class Killed(Exception):
    pass


class Noisy(Model):
    """Draws in every step (dropout, noise), keeps running statistics, and has one or two optimisers."""

    monitor = ("val/loss", "min")

    def __init__(self, manual, die_at=None):
        super().__init__(ModelConfig(learning_rate=0.05), DataInfo(Side(1, 8, 8)), Losses())
        torch.manual_seed(0)
        self.automatic_optimization = not manual
        self.one = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.two = nn.Linear(4, 1)
        self.die_at, self.steps, self.validated = die_at, 0, []

    def configure_optimizers(self):
        if self.automatic_optimization:
            return torch.optim.AdamW(self.parameters(), 0.05)
        return torch.optim.AdamW(self.one.parameters(), 0.05), torch.optim.AdamW(self.two.parameters(), 0.05)

    def training_step(self, batch, batch_idx):
        self.steps += 1
        if self.steps == self.die_at:
            raise Killed
        one = self.one(batch + 0.1 * torch.randn_like(batch)).square().mean()
        two = (self.two(batch) - torch.rand(())).square().mean()
        if self.automatic_optimization:
            return one + two
        for optimizer, loss in zip(self.optimizers(), (one, two), strict=True):
            self.descend(optimizer, loss, batch_idx)
        return None

    def validation_step(self, batch, batch_idx):
        self.validated.append(self.two.weight.detach().clone())
        self.log("val/loss", (self.one(batch) + torch.randn(())).square().mean())


class Resumable:
    """As `rvtool.data.batches.Loader`: a resumed epoch starts with the batch that is next."""

    def __init__(self, data, progress):
        self.data, self.progress = data, progress

    def __len__(self):
        return len(self.data) // 2

    def __iter__(self):
        yield from self.data.split(2)[self.progress.current.ready :]


def train(model, folder, resume=None, every=None):
    data = torch.randn(20, 4, generator=torch.Generator().manual_seed(3))
    keep = lightning.pytorch.callbacks.ModelCheckpoint(
        folder, filename="{step}", save_top_k=-1, every_n_train_steps=every, every_n_epochs=None if every else 1
    )
    callbacks = [Randomness(7), Schedule("cosine", 30, 2), EMA(0.9), keep]
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    trainer.fit(
        model,
        Resumable(data, trainer.fit_loop.epoch_loop.batch_progress),
        DataLoader(data, batch_size=10),
        ckpt_path=resume,
    )
    return callbacks[2]._average_model


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("every", [None, 1])  # checkpoints at the end of epochs, or within them
def test_resumed_training_is_bit_identical(tmp_path, manual, every):
    whole = Noisy(manual)
    average = train(whole, tmp_path / "whole", every=every)
    killed = Noisy(manual, die_at=17)
    with pytest.raises(Killed):
        train(killed, tmp_path / "killed", every=every)
    newest = max((tmp_path / "killed").iterdir(), key=lambda path: int(path.stem.split("=")[1]))
    resumed = Noisy(manual)
    torch.randn(13)  # what a fresh process has drawn by then is of no account
    again = train(resumed, tmp_path / "resumed", resume=newest, every=every)
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(average.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_validation_and_checkpoints_use_the_average_and_training_goes_on_with_its_own_weights(tmp_path):
    model = Noisy(manual=False)
    train(model, tmp_path)
    last = max(tmp_path.iterdir(), key=lambda path: int(path.stem.split("=")[1]))
    stored = torch.load(last, weights_only=False)
    assert torch.equal(model.validated[-1], stored["state_dict"]["two.weight"])
    assert torch.equal(model.two.weight, stored["state_dict"]["two.weight"])  # the end of training leaves the average
    assert not torch.equal(stored["current_model_state"]["two.weight"], stored["state_dict"]["two.weight"])


def test_the_average_follows_its_formula():
    average, current = [torch.zeros(1)], [torch.ones(1)]
    ema = EMA(0.5)
    ema._average(average, current, torch.tensor(1))  # decay 2/11
    assert average[0].item() == pytest.approx(9 / 11)
    ema._average(average, current, torch.tensor(1000))  # decay 0.5
    assert average[0].item() == pytest.approx(10 / 11)
    counters = [torch.tensor([3])]
    ema._average(counters, [torch.tensor([9])], torch.tensor(1))
    assert counters[0].item() == 9


def test_seeds_are_fixed_and_differ_by_place():
    assert derive(0, 1, 2) == derive(0, 1, 2)
    assert len({derive(seed, epoch, batch) for seed in range(5) for epoch in range(5) for batch in range(5)}) == 125
