"""vae-gan: a critic that joins at its step, two optimisers that keep to their own, and exact resumption across it."""

import csv
from functools import partial
from io import StringIO
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from rvtool import plugins
from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import compose
from rvtool.learning.critic import answers
from rvtool.verbs import train
from rvtool.verbs.train.callbacks import Keeper
from rvtool_plugins.models.vae_gan import VAEGANConfig
from rvtool_plugins.models.vae_gan.model import ActNorm, Critic

SMALL = {"width": 8, "critic_width": 4, "factor": 8}
PLAIN = ("l1:1", "mse:1", "radio-perceptual:0")  # quick


def build(losses=PLAIN, given=None, **config):
    component = plugins.component("model", "vae-gan")
    kind = component.load()
    data = DataInfo(Side(1, 32, 32))
    composed = compose(list(losses), kind.roles, given or {}, data, partial(plugins.component, "loss"))
    torch.manual_seed(0)
    return kind(component.configure({**SMALL, **config}), data, composed)


def batches_of(count, size=4):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.rand(size, 1, 32, 32, generator=generator),
            "mask": torch.ones(size, 1, 32, 32, dtype=torch.bool),
        }
        for _ in range(count)
    ]


def fit(model, steps, epochs=1):
    """Train, and return what every step logged."""
    told = []
    tell = model.tell
    model.tell = lambda values: (told.append({k: float(v.detach()) for k, v in values.items()}), tell(values))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, DataLoader(batches_of(steps), batch_size=None))
    return told


def test_the_adaptive_weight_is_the_ratio_of_slopes():
    """Against slopes that `backward` leaves at the last layer."""
    model = build(critic_weight=0.4)
    model.critic.eval()  # the largest gain of its kernels is not sought further at each call
    (batch,) = batches_of(1)

    def parts():
        torch.manual_seed(3)
        made, loss, _ = model.judge(batch)
        return loss, -answers(model.critic(made))[0].mean()

    near, passing = parts()
    weight = model.adaptive_weight(near, passing)
    norms = []
    for which in range(2):
        model.zero_grad()
        parts()[which].backward()
        norms.append(model.decoder[-1].weight.grad.norm())
    assert norms[0] > 0 < norms[1]
    assert float(weight) == pytest.approx(float(0.4 * norms[0] / (norms[1] + 1e-4)), rel=1e-4)
    assert not weight.requires_grad
    assert model.adaptive_weight(near, 0 * passing) == pytest.approx(0.4 * min(float(norms[0]) / 1e-4, 1e4))


def test_each_optimiser_moves_its_own_parameters(monkeypatch):
    model = build(discriminator_start=2)
    moved = []
    descend = type(model).descend

    def watched(self, optimizer, loss, batch_index):
        before = {name: value.detach().clone() for name, value in self.named_parameters()}
        descend(self, optimizer, loss, batch_index)
        moved.append({name for name, value in self.named_parameters() if not torch.equal(value, before[name])})

    monkeypatch.setattr(type(model), "descend", watched)
    fit(model, 4)
    every = {name for name, _ in model.named_parameters()}
    critics = {name for name in every if name.startswith("critic.")}
    assert len(moved) == 2 + 2 * 2  # without a critic one each, then two
    for number in (0, 1, 3, 5):
        assert moved[number] == every - critics
        assert "log_sigma" in moved[number]
    for number in (2, 4):
        assert moved[number] == critics


def test_the_critic_joins_at_exactly_its_step():
    model = build(discriminator_start=3)
    before = {name: value.clone() for name, value in model.critic.state_dict().items()}
    states = []
    model.on_train_batch_end = lambda *_: states.append({k: v.clone() for k, v in model.critic.state_dict().items()})
    told = fit(model, 3, epochs=2)  # the boundary is that of the epochs too: none may be off by one there
    assert [row["critic-takes-part"] for row in told] == [0, 0, 0, 1, 1, 1]
    assert ["critic-loss" in row for row in told] == [False] * 3 + [True] * 3
    assert all(torch.equal(states[2][name], before[name]) for name in before)
    assert not torch.equal(
        states[3]["layers.0.0.parametrizations.weight.original"], before["layers.0.0.parametrizations.weight.original"]
    )
    assert {"hinge", "adaptive-weight", "critic-accuracy", "critic-real", "critic-fake"} <= set(told[3])


@pytest.mark.parametrize(
    ("losses", "start", "epochs", "batches", "accumulate", "expected"),
    [
        (PLAIN, 0, 4, 10, 1, (20, 2)),  # the first half
        (PLAIN, 25, 4, 10, 1, (25, 3)),
        (PLAIN, 0, 3, 10, 4, (4, 2)),  # three steps an epoch
        (PLAIN, 400, 4, 10, 1, (400, 0)),  # never
        ((*PLAIN, "hinge:0"), 0, 4, 10, 1, (20, 0)),
    ],
)
def test_epochs_with_another_aim_do_not_compete(losses, start, epochs, batches, accumulate, expected, monkeypatch):
    model = build(losses, discriminator_start=start)
    model.accumulate = accumulate
    monkeypatch.setattr(
        type(model), "trainer", SimpleNamespace(num_training_batches=batches, max_epochs=epochs), raising=False
    )
    assert (model.critic_start, model.judged_from_epoch) == expected


def test_the_first_batch_sets_actnorm():
    norm = ActNorm(3).train()
    maps = torch.randn(8, 3, 9, 9) * torch.tensor([2.0, 0.1, 30.0])[:, None, None] + 5
    first = norm(maps)
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(norm(3 * maps) - norm(0 * maps), 3 * (first - norm(0 * maps)), rtol=1e-3, atol=1e-3)
    assert {name for name, p in norm.named_parameters() if p.requires_grad} == {"scale", "shift"}


def test_the_critics_kernels_have_a_gain_of_one_where_asked():
    for held in (True, False):
        torch.manual_seed(0)
        critic = Critic(1, VAEGANConfig(**SMALL, spectral_norm=held)).train()
        for _ in range(30):
            critic(torch.rand(1, 1, 32, 32))  # the largest gain is found by iteration
        kernels = [module.weight for module in critic.modules() if isinstance(module, torch.nn.Conv2d)]
        gains = [float(torch.linalg.matrix_norm(kernel.detach().flatten(1), 2)) for kernel in kernels]
        assert len(gains) == 5
        assert (np.abs(np.array(gains) - 1) < 0.02).all() == held


@pytest.mark.parametrize("norm", ["batch", "actnorm"])
def test_the_slope_of_the_critic_is_punished_and_told(norm):
    told = fit(
        build((*PLAIN, "hinge:1"), {"hinge": {"gradient_penalty": 2.0}}, discriminator_start=1, critic_norm=norm), 3
    )
    assert "gradient-penalty" not in told[0]
    assert all(row["gradient-penalty"] > 0 for row in told[1:])


def test_images_that_a_critic_cannot_judge_are_told():
    component = plugins.component("model", "vae-gan")
    data = DataInfo(Side(1, 31, 40))
    with pytest.raises(ConfigError, match="smaller than a critic judges"):
        component.load()(component.configure(SMALL), data, build().losses)


class Killed(Exception):
    """The process is gone."""


def test_what_was_cut_off_before_the_critic_joined_is_gone_on_with_exactly(blobs, tmp_path, monkeypatch):
    data = blobs(count=20, size=32)

    def settings(out):
        return train.Settings(
            model="vae-gan", config={**SMALL, "discriminator_start": 3}, data=data, out=tmp_path / out,
            loss=PLAIN, epochs=3, batch_size=8, gpus=0, augment=("rotate-flip",), scale="image",
        )  # fmt: skip

    quiet = Console(file=StringIO())
    train.run(settings("whole"), quiet)
    ended = Keeper.on_train_epoch_end

    def dies(self, trainer, module):
        ended(self, trainer, module)
        if trainer.current_epoch == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", dies)
        with pytest.raises(Killed):
            train.run(settings("cut"), quiet)
    train.run(train.Settings(resume=tmp_path / "cut"), quiet)
    with open(tmp_path / "cut" / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    parts = [float(row["train/critic-takes-part"]) for row in rows]
    assert (parts[0], parts[-1]) == (0, 1)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    last = [torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=False) for name in ("whole", "cut")]
    assert [len(one["state"]) > 0 for one in last[1]["optimizer_states"]] == [True, True]
    for name, value in last[0]["state_dict"].items():
        assert torch.equal(value, last[1]["state_dict"][name]), name
