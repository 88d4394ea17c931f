"""A plugin's own tests: rvtool.testing checks every contract, and what only the author knows is added."""

import pytest
import torch
from rvtool.kinds import Absent, Fatal, Found, LossContext, Reply, Request, Retry, Target
from rvtool.plugins import component
from rvtool.testing import check_augmenter, check_component, check_loss, check_model, check_source


@pytest.mark.parametrize(
    ("kind", "name"),
    [("source", "example-archive"), ("model", "radial-profile"), ("loss", "margin"), ("augmenter", "gain")],
)
def test_what_is_declared(kind, name):
    check_component(component(kind, name))


def test_the_source():
    target, request = Target("J180.0000+00.0000", 180.0, 0.0), Request("https://archive.example.org/cutout")
    recorded = [
        (target, Reply(request, 200, {}, b"SIMPLE  =" + b" " * 2871), Found),
        (target, Reply(request, 404, {}, b""), Absent),
        (target, Reply(request, 200, {}, b"<html>come back later"), Retry),
        (target, Reply(request, 401, {}, b""), Fatal),
    ]
    check_source(component("source", "example-archive"), recorded=recorded)


def test_the_model():
    check_model(component("model", "radial-profile"))


def test_the_loss():
    check_loss(component("loss", "margin"))
    loss = component("loss", "margin").load()(component("loss", "margin").configure(), None)
    logits = torch.tensor([[2.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    value = loss(logits, torch.tensor([0, 1]), LossContext({}))
    assert value.item() == pytest.approx((0 + 1) / 2)  # the first leads by 1.5 > 1, the second by 0


def test_the_augmenter():
    check_augmenter(component("augmenter", "gain"))
