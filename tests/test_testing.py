"""Each check finds a component that is broken on purpose, and says in words what is wrong."""

from __future__ import annotations

import random
import socket

import pytest
import torch
from pydantic import BaseModel, Field
from torch import nn
from torchmetrics import Metric

from rvtool import Component, Config
from rvtool.kinds import Absent, Found, Reply, Request, Retry, Side, SimulatorInfo, SourceInfo, Target
from rvtool.learning import Classifier, Model, ModelConfig
from rvtool.testing import (
    check_augmenter,
    check_component,
    check_loss,
    check_metric,
    check_model,
    check_simulator,
    check_source,
)


class Settings(Config):
    strength: float = Field(1.0, description="how strong, no unit")


def component(target: type, name: str = "toy", config: type[BaseModel] = Settings) -> Component:
    """Declare a class of this module (or one made in a test, which is put here)."""
    globals()[target.__name__] = target
    return Component(name, "A toy", config, f"{__name__}:{target.__name__}")


def refused(check, target, match, config=Settings, **more):
    with pytest.raises(AssertionError, match=match):
        check(component(target, config=config), **more)


# ---------------------------------------------------------------- component


class Loose(BaseModel):
    strength: float = Field(1.0, description="how strong")


class Silent(Config):
    strength: float = 1.0


class Demanding(Config):
    strength: float = Field(description="how strong")


class Deep(Config):
    inner: Settings = Field(Settings(), description="more settings")


@pytest.mark.parametrize(
    ("config", "match"),
    [(Loose, "rvtool.Config"), (Silent, "no description"), (Demanding, "no default"), (Deep, "flat")],
)
def test_component_settings(config, match):
    refused(check_component, Component, match, config=config)


def test_component_name_and_target():
    with pytest.raises(AssertionError, match="lower-case"):
        check_component(Component("My Model", "A toy", Settings, "json:loads"))


def test_component_must_be_light_and_loadable(tmp_path, monkeypatch):
    (tmp_path / "heavy_plugin.py").write_text(
        "import numpy\nfrom rvtool import Config\nclass Settings(Config):\n    pass\n"
    )
    (tmp_path / "light_plugin.py").write_text("from rvtool import Config\nclass Settings(Config):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import heavy_plugin
    import light_plugin

    with pytest.raises(AssertionError, match="loads numpy"):
        check_component(Component("toy", "A toy", heavy_plugin.Settings, "json:loads"))
    with pytest.raises(AssertionError, match="cannot be loaded"):
        check_component(Component("toy", "A toy", light_plugin.Settings, "json:nothing"))
    check_component(Component("toy", "A toy", light_plugin.Settings, "json:loads"))


# ---------------------------------------------------------------- source


class Survey:
    info = SourceInfo("https://example.org/cutout", licence="CC0", citation="Nobody 2026")

    def __init__(self, config):
        pass

    def targets(self):
        yield Target("a", 1.0, 2.0)
        yield Target("b", 3.0, 4.0)

    def request(self, target):
        return Request("https://example.org/cutout", {"position": f"{target.ra_deg} {target.dec_deg}"})

    def read(self, target, reply):
        if reply.status == 429 or reply.status >= 500:
            return Retry("busy")
        if reply.status != 200 or not reply.body.startswith(b"SIMPLE") or len(reply.body) % 2880:
            return Absent("no FITS file")
        return Found(reply.body, ".fits")


def test_source():
    good = Reply(Request("https://example.org/cutout"), 200, {}, b"SIMPLE".ljust(2880))
    check_source(component(Survey), recorded=[(Target("a"), good, Found)])
    with pytest.raises(AssertionError, match="not as Absent"):
        check_source(component(Survey), recorded=[(Target("a"), good, Absent)])


class Impatient(Survey):
    def read(self, target, reply):
        answer = super().read(target, reply)
        return Absent("no") if isinstance(answer, Retry) else answer


class Trusting(Survey):
    def read(self, target, reply):
        return super().read(target, reply) if reply.status != 200 else Found(reply.body, ".fits")


class Raising(Survey):
    def read(self, target, reply):
        return {200: Absent("no")}[reply.status]


class Moody(Survey):
    def request(self, target):
        return Request(f"https://example.org/cutout/{random.random()}")


class Elsewhere(Survey):
    def request(self, target):
        return Request("https://example.com/")


class Same(Survey):
    def targets(self):
        yield from [Target("a"), Target("a")]


class Downloading(Survey):
    def targets(self):
        socket.create_connection(("127.0.0.1", 9))


class Unlicensed(Survey):
    info = SourceInfo("https://example.org/cutout")


@pytest.mark.parametrize(
    ("target", "match"),
    [
        (Impatient, "is a Retry"),
        (Trusting, "look at the first bytes"),
        (Raising, "raised KeyError"),
        (Moody, "asks differently"),
        (Elsewhere, "not under its base_url"),
        (Same, "several targets one id"),
        (Downloading, "opens a connection itself"),
        (Unlicensed, "licence and citation"),
    ],
)
def test_broken_sources(target, match):
    refused(check_source, target, match)


# ---------------------------------------------------------------- simulator


class Sky:
    info = SimulatorInfo(Side(1, 8, 8, unit="Jy/beam"), classes=("a", "b"))

    def __init__(self, config):
        pass

    def simulate(self, indices, seed, device):
        images = [torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(seed * 1000 + int(i))) for i in indices]
        image = torch.stack(images).to(device)
        return {"image": image, "label": indices % 2, "flux_jy": image.amax((1, 2, 3))}


def test_simulator():
    check_simulator(component(Sky))


def simulating(change):
    class Broken(Sky):
        def simulate(self, indices, seed, device):
            return change(super().simulate(indices, seed, device), indices)

    return Broken


def relabelled(batch, indices):
    return {**batch, "label": indices % 3}


def centred(batch, indices):
    return {**batch, "image": batch["image"] - batch["image"].mean()}


def doubled(batch, indices):
    return {**batch, "image": batch["image"].double()}


def scalar(batch, indices):
    return {**batch, "flux_jy": batch["flux_jy"].mean()}


def drawn(batch, indices):
    return {**batch, "image": batch["image"] + torch.randn(1)}


def constant(batch, indices):
    return {**batch, "image": torch.zeros_like(batch["image"]), "flux_jy": torch.zeros(len(indices))}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (relabelled, "outside its classes"),
        (centred, "depends on the other indices"),
        (doubled, "images are float32"),
        (scalar, "column 'flux_jy'"),
        (drawn, "global generator"),
        (constant, "same images for another seed"),
    ],
)
def test_broken_simulators(change, match):
    refused(check_simulator, simulating(change), match)


# ---------------------------------------------------------------- loss, augmenter, metric


class L1(nn.Module):
    role = "reconstruction"

    def __init__(self, config, data):
        super().__init__()

    def forward(self, prediction, target, context):
        return (prediction - target).abs().mean()


class CrossEntropy(L1):
    role = "classification"

    def forward(self, prediction, target, context):
        return nn.functional.cross_entropy(prediction, target)


class Hinge(L1):
    role = "adversarial"

    def generator(self, fake, real):
        return -fake.mean()

    def discriminator(self, real, fake):
        return (1 - real).relu().mean() + (1 + fake).relu().mean()


class Matching(L1):
    role = "features"

    def forward(self, prediction, target, context):
        scales = zip(prediction, target, strict=True)
        return sum((a - b).abs().mean() for ours, truth in scales for a, b in zip(ours, truth, strict=True))


class InUnits(L1):
    def forward(self, prediction, target, context):
        return (context.physical["prediction"] - context.physical["target"]).abs().mean()


def losing(base, forward, role=None):
    return type("Broken", (base,), {"forward": forward, **({"role": role} if role is not None else {})})


@pytest.mark.parametrize("loss", [L1, CrossEntropy, Hinge, Matching, InUnits])
def test_loss(loss):
    check_loss(component(loss))


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (losing(L1, L1.forward, role=""), "needs the class attribute 'role'"),
        (losing(L1, lambda s, p, t, c: (p - t).abs()), "scalar tensor"),
        (losing(L1, lambda s, p, t, c: (p - t).abs().mean().detach()), "no gradient"),
        (losing(L1, lambda s, p, t, c: -(p - t).abs().mean()), "must be lower"),
        (losing(L1, lambda s, p, t, c: (p - t).mean() / 0), "is (nan|inf|-inf)"),
        (losing(CrossEntropy, lambda s, p, t, c: nn.functional.cross_entropy(p, t.argmax(1) * 0 if t.ndim == 2 else t)),
         "become \\(B, K\\)"),
        (losing(L1, L1.forward, role="adversarial"), "'generator' is missing"),
    ],
)  # fmt: skip
def test_broken_losses(loss, match):
    refused(check_loss, loss, match)


class Brighten:
    axes = ("sky",)

    def __init__(self, config, data):
        pass

    def __call__(self, batch, generator):
        factor = 1 + torch.rand(len(batch["image"]), 1, 1, 1, generator=generator)
        return {**batch, "image": torch.where(batch["mask"], batch["image"] * factor, 0.0)}


def augmenting(call, axes=("sky",)):
    return type("Broken", (Brighten,), {"__call__": call, "axes": axes})


def in_place(self, batch, generator):
    batch["image"] += torch.rand(1, generator=generator)
    return batch


def global_draw(self, batch, generator):
    return {**batch, "image": batch["image"] + torch.rand(1)}


def idle(self, batch, generator):
    return dict(batch)


def cropped(self, batch, generator):
    return {**batch, "image": batch["image"][..., 1:] * torch.rand(1, generator=generator)}


def mask_left(self, batch, generator):
    return {**batch, "image": batch["image"].roll(int(torch.randint(1, 4, (1,), generator=generator)), -1)}


def halved(self, batch, generator):
    soft = nn.functional.one_hot(batch["label"], 3).float() * torch.rand(1, generator=generator)
    return {**batch, "label": soft, "image": batch["image"] * torch.rand(1, generator=generator)}


def test_augmenter():
    check_augmenter(component(Brighten))


@pytest.mark.parametrize(
    ("augmenter", "match"),
    [
        (augmenting(in_place), "that it was given"),
        (augmenting(global_draw), "global generator"),
        (augmenting(idle), "does nothing"),
        (augmenting(cropped), "shape and type stay"),
        (augmenting(mask_left), "calls pixels known"),
        (augmenting(halved), "sum to 1"),
        (augmenting(Brighten.__call__, axes=("time",)), "axes are"),
    ],
)
def test_broken_augmenters(augmenter, match):
    refused(check_augmenter, augmenter, match)


class Error(Metric):
    higher_is_better = False

    def __init__(self, config, data):
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction, target):
        self.total += (prediction - target).square().mean((1, 2, 3)).sum()
        self.count += len(prediction)

    def compute(self):
        return self.total / self.count


class Backwards(Error):
    higher_is_better = True


class LastBatch(Error):
    def update(self, prediction, target):
        self.total, self.count = (prediction - target).square().sum(), self.count * 0 + 1


class Undecided(Error):
    higher_is_better = None


def test_metric():
    check_metric(component(Error))


@pytest.mark.parametrize(
    ("metric", "match"),
    [(Backwards, "says higher_is_better"), (LastBatch, "in two"), (Undecided, "must set 'higher_is_better'")],
)
def test_broken_metrics(metric, match):
    refused(check_metric, metric, match)


# ---------------------------------------------------------------- model


class Small(Classifier):
    def __init__(self, config, data, losses):
        super().__init__(config, data, losses)
        pixels = data.image.channels * data.image.height * data.image.width
        self.network = nn.Sequential()
        self.network.add_module("flat", nn.Flatten())
        self.network.add_module("head", nn.Linear(pixels, len(data.classes)))


class Idle(Small):
    def __init__(self, config, data, losses):
        super().__init__(config, data, losses)
        self.forgotten = nn.Linear(3, 3)


class Blind(Small):
    def forward(self, image):
        return super().forward(torch.zeros_like(image))


class Forgetful(Small):
    def __init__(self, config, data, losses):
        super().__init__(config, data, losses)
        self.offset = torch.randn(3)

    def forward(self, image):
        return super().forward(image) + self.offset


class Mute(Small):
    monitor = ("val/auc", "max")


class Stretched(Small):
    stretch = {"crops": 3}  # noqa: RUF012


class Excused(Blind):
    exempt = {"learns": "it is blind", "gradients": "it is blind"}  # noqa: RUF012


def find_loss(name):
    return component(CrossEntropy, name)


@pytest.mark.parametrize("model", [Small, Excused])
def test_model(model):
    check_model(component(model, config=ModelConfig), get_loss=find_loss)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Idle, "no gradient reaches forgotten.weight"),
        (Blind, "no gradient reaches network.head.weight"),
        (Forgetful, "must be a parameter or a buffer"),
        (Mute, "never logs it"),
        (Stretched, "no fields of"),
        (Survey, "derived from rvtool.learning.Model"),
    ],
)
def test_broken_models(model, match):
    refused(check_model, model, match, config=ModelConfig, get_loss=find_loss)


def test_a_model_that_learns_nothing():
    with pytest.raises(AssertionError, match="a model that can learn"):
        check_model(
            component(Blind, config=ModelConfig), get_loss=find_loss, steps=40, exempt={"gradients": "blind on purpose"}
        )


def test_models_of_other_tasks_need_an_answer():
    class Generator(Model):
        task = "generation"
        monitor = ("val/loss", "min")

        def __init__(self, config, data, losses):
            super().__init__(config, data, losses)
            self.level = nn.Parameter(torch.zeros(1, 1))

        def training_step(self, batch, batch_idx):
            loss = (batch["image"].mean() + 1 - self.level).square().mean()
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val/loss", (batch["image"].mean() + 1 - self.level).square().mean())

    refused(check_model, Generator, "can do nothing once trained", config=ModelConfig)
