"""The contract of losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvtool.component import Component
from rvtool.kinds import Batch, DataInfo, LossContext
from rvtool.testing.examples import example_batch, example_data


def check_loss(
    component: Component, settings: Mapping[str, Any] | None = None, *, data: DataInfo | None = None
) -> None:
    """Check that a loss is a finite scalar with a gradient that leads towards the target.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    data
        What it is told of the data; small images of three classes where left out.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    data = data or example_data()
    name = f"Loss '{component.name}'"
    loss = component.load()(component.configure(settings), data)
    assert isinstance(loss, nn.Module), f"{name} must be a torch.nn.Module, so that it moves with its model."
    role = getattr(loss, "role", None)
    assert isinstance(role, str) and role, (
        f"{name} needs the class attribute 'role': what it is for, such as 'classification' or 'reconstruction'."
    )
    batch = example_batch(data)
    context = LossContext(batch)
    if role == "adversarial":
        _check_adversarial(name, loss)
    elif role == "regression":
        _check_likelihood(name, loss, context)
    elif role == "classification":
        _check_labels(name, loss, batch["label"], len(data.classes), context)
    else:
        _check_images(name, loss, role, batch)


def _noise(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def _check_order(
    name: str, loss: Callable[[Tensor], Tensor], better: Callable[[], Tensor], worse: Callable[[], Tensor]
) -> None:
    low, high = _value(name, loss, better()), _value(name, loss, worse(), teaches=True)
    assert low < high, f"{name} gives {low:.4g} to a good prediction and {high:.4g} to a bad one; it must be lower."


def _value(name: str, loss: Callable[[Tensor], Tensor], prediction: Tensor, teaches: bool = False) -> float:
    leaf = prediction.clone().requires_grad_()
    before = leaf.detach().clone()
    value = loss(leaf)
    assert isinstance(value, Tensor) and value.ndim == 0, (
        f"{name} must return a scalar tensor and returned {getattr(value, 'shape', value)!r}."
    )
    assert value.isfinite(), f"{name} is {value.item()} on ordinary images."
    assert value.requires_grad, f"{name} has no gradient: something in it is detached, or leaves torch."
    value.backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all(), f"{name} has a gradient that is not finite."
    assert not teaches or leaf.grad.any(), f"{name} has a gradient of 0 at a bad prediction, so it teaches nothing."
    assert torch.equal(leaf.detach(), before), f"{name} changes the prediction in place."
    return value.item()


def _check_images(name: str, loss: nn.Module, role: str, batch: Batch) -> None:
    """Check a loss that compares images, or (of role ``features``) what a critic of two scales makes of them."""
    truth = batch.get("target", batch["image"])

    def value(prediction: Tensor) -> Tensor:
        if role == "features":
            return loss(_as_features(prediction), _as_features(truth), LossContext(batch))
        return loss(
            prediction, truth, LossContext(batch, physical={"target": truth, **batch, "prediction": prediction})
        )

    better, worse = truth + 0.01 * _noise(truth.shape), truth + 0.5 * _noise(truth.shape)
    _check_order(name, value, lambda: better, lambda: worse)


def _as_features(image: Tensor) -> list[list[Tensor]]:
    return [[image, image[..., ::2, ::2]], [image[..., ::2, ::2]]]


def _check_labels(name: str, loss: nn.Module, label: Tensor, classes: int, context: LossContext) -> None:
    hot = functional.one_hot(label, classes).float()
    better, worse = 2 * hot + 0.1 * _noise(hot.shape), -2 * hot + 0.1 * _noise(hot.shape)
    _check_order(name, lambda logits: loss(logits, label, context), lambda: better, lambda: worse)
    hard = _value(name, lambda logits: loss(logits, label, context), worse)
    soft = _value(name, lambda logits: loss(logits, hot, context), worse)
    assert abs(hard - soft) <= 1e-4 * max(1.0, abs(hard)), (
        f"{name} gives {hard:.5g} to classes (B,) and {soft:.5g} to the same as probabilities (B, K); labels become "
        "(B, K) where augmenters mix images."
    )
    _value(name, lambda logits: loss(logits, 0.7 * hot + 0.3 * hot.roll(1, 1), context), better)


def _check_likelihood(name: str, loss: nn.Module, context: LossContext) -> None:
    outputs = getattr(loss, "outputs", None)
    assert isinstance(outputs, int) and outputs > 0, f"{name} needs 'outputs', how many numbers a network gives it."
    assert callable(getattr(loss, "answer", None)), f"{name} needs answer(prediction) -> estimate and deviation (B, 2)."
    count = len(context.batch["image"])
    limits = getattr(loss, "limits", None)
    assert limits is not None and limits[0] < limits[1], f"{name} needs 'limits', the least and the largest label."
    told = loss.answer(_noise((count, outputs)))  # type: ignore[operator]
    assert told.shape == (count, 2) and told.isfinite().all() and (told[:, 1] > 0).all(), (
        f"{name}: answer(prediction) gives {tuple(told.shape)}; an estimate and a standard deviation above 0 are due."
    )
    truth, numbers = told[:, 0].detach(), _noise((count, outputs))
    moved = -numbers
    _check_order(name, lambda prediction: loss(prediction, truth, context), lambda: numbers, lambda: moved)


def _check_adversarial(name: str, loss: nn.Module) -> None:
    for method in ("generator", "discriminator"):
        assert callable(getattr(loss, method, None)), (
            f"{name}: an adversarial loss has generator(fake, real) and discriminator(real, fake); "
            f"'{method}' is missing."
        )
    fake, real = _noise((4, 1, 5, 5)), _noise((4, 1, 5, 5)).flip(0)
    _check_order(
        f"{name}, generator", lambda judged: loss.generator(judged, real), lambda: fake + 3, lambda: fake - 3  # type: ignore[operator]
    )  # fmt: skip
    _check_order(
        f"{name}, discriminator", lambda judged: loss.discriminator(judged, fake), lambda: real + 3, lambda: real - 3  # type: ignore[operator]
    )  # fmt: skip
