import pytest
import torch
from torch import nn

from rvtool import Component, Config
from rvtool.errors import ConfigError, PluginError, unknown
from rvtool.kinds import DataInfo, LossContext, Side
from rvtool.learning.losses import Losses, compose, parse

DATA = DataInfo(Side(1, 8, 8))
ROLES = {"reconstruction": ("l1:100",), "adversarial": ("hinge",)}


class Scale(Config):
    scale: float = 1.0


class L1(nn.Module):
    role = "reconstruction"

    def __init__(self, config, data):
        super().__init__()
        self.scale = config.scale

    def forward(self, prediction, target, context):
        return self.scale * (prediction - target).abs().mean()


class L2(L1):
    def forward(self, prediction, target, context):
        return self.scale * (prediction - target).square().mean()


class Hinge(L1):
    role = "adversarial"


class CrossEntropy(L1):
    role = "classification"


def plain(config, data):
    return lambda *_: torch.zeros(())


TABLE = {
    name: Component(name, "", Scale, f"{__name__}:{target}")
    for name, target in {
        "l1": "L1",
        "l2": "L2",
        "hinge": "Hinge",
        "cross-entropy": "CrossEntropy",
        "plain": "plain",
    }.items()
}


def find(name):
    if name not in TABLE:
        raise unknown("loss", name, TABLE)
    return TABLE[name]


def build(*specs, settings=None, fixed=None):
    return compose(specs, ROLES, settings or {}, DATA, find, fixed_roles=fixed)


def weights(losses):
    return {part.name: part.weight for part in losses.parts}


def test_defaults_fill_the_roles_that_the_user_leaves():
    assert weights(build()) == {"l1": 100, "hinge": 1}
    assert weights(build("l2:3", "l1")) == {"l2": 3, "l1": 1, "hinge": 1}


def test_the_sum_is_weighted_and_the_parts_are_not():
    losses = build("l1:2", "l2:10", settings={"l2": {"scale": 3}})
    prediction = torch.full((2, 1), 2.0, requires_grad=True)
    total, parts = losses("reconstruction", prediction, torch.zeros(2, 1), LossContext({}))
    assert total.item() == 2 * 2 + 10 * 3 * 4
    assert {name: value.item() for name, value in parts.items()} == {"l1": 2.0, "l2": 12.0}
    assert total.requires_grad
    assert not parts["l1"].requires_grad


def test_a_role_without_losses_is_zero():
    total, parts = Losses()("reconstruction", torch.ones(1), torch.ones(1), LossContext({}))
    assert (total.item(), parts) == (0, {})


@pytest.mark.parametrize(
    ("specs", "settings", "fixed", "message"),
    [
        (["cross-entropy"], {}, {}, r"is for classification, .* \(its roles: reconstruction, adversarial\)"),
        (["hinge"], {}, {"adversarial": "The critic is trained by WGAN-GP."}, "fixes its adversarial loss. The critic"),
        (["l3"], {}, {}, "did you mean 'l"),
        (["l1", "l1:2"], {}, {}, "given twice"),
        (["l1:x"], {}, {}, "weight must be a number"),
        (["l1"], {"l1": {"scales": 1}}, {}, "did you mean 'scale'"),
        (["l1"], {"l2": {"scale": 1}}, {}, "not used"),
    ],
)
def test_what_is_wrong_is_told(specs, settings, fixed, message):
    with pytest.raises(ConfigError, match=message):
        build(*specs, settings=settings, fixed=fixed)


def test_a_loss_that_is_no_module_is_its_authors_fault():
    with pytest.raises(PluginError, match="check_loss"):
        build("plain")


@pytest.mark.parametrize(("spec", "expected"), [("l1", ("l1", 1)), ("l1:0", ("l1", 0)), ("l1:1e-3", ("l1", 1e-3))])
def test_parse(spec, expected):
    assert parse(spec) == expected


@pytest.mark.parametrize("spec", ["l1:", "l1:-1", "l1:inf", "l1:nan"])
def test_parse_refuses(spec):
    with pytest.raises(ConfigError, match="0 or more"):
        parse(spec)
