"""The contract of simulators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rvtool.component import Component
from rvtool.kinds import Batch, Side, Simulator, SimulatorInfo
from rvtool.testing.examples import own_randomness

RESERVED = ("image", "target", "mask", "target_mask", "label")
ROUNDING = 1e-5  # of the peak: sums may be ordered otherwise in another batch


def check_simulator(
    component: Component, settings: Mapping[str, Any] | None = None, *, device: str = "cpu", count: int = 6
) -> None:
    """Check that an image depends on its index and the seed only, and that a simulator tells what it made.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    device
        Where to simulate.
    count
        Images to look at.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    name = f"Simulator '{component.name}'"
    simulator = component.load()(component.configure(settings))
    assert isinstance(simulator, Simulator), f"{name} needs the attribute 'info' and simulate(indices, seed, device)."
    info = simulator.info
    assert isinstance(info, SimulatorInfo), f"{name}: info is {info!r}, not a rvtool.kinds.SimulatorInfo."
    at = torch.device(device)
    indices = torch.arange(count)
    with own_randomness(name):
        batch = simulator.simulate(indices, 1, at)
    _check_images(name, batch, "image", info.image, count)
    if info.target is not None:
        _check_images(name, batch, "target", info.target, count)
    if info.classes:
        label = batch.get("label")
        assert label is not None and label.shape == (count,) and label.dtype == torch.int64, (
            f"{name} has classes, so 'label' must be (B,) int64."
        )
        assert label.min() >= 0 and label.max() < len(info.classes), f"{name}: labels are outside its classes."
    for key, value in batch.items():
        if key not in RESERVED:
            assert value.shape == (count,) and value.double().isfinite().all(), (
                f"{name}: column '{key}' must hold one finite number an image, (B,); it is {tuple(value.shape)}."
            )
    _check_addresses(name, simulator, batch, indices, at)


def _check_images(name: str, batch: Batch, key: str, side: Side, count: int) -> None:
    image = batch.get(key)
    assert image is not None, f"{name}: '{key}' is missing from what it simulates."
    expected = (count, side.channels, side.height, side.width)
    assert image.shape == expected and image.dtype == torch.float32, (
        f"{name}: '{key}' is {tuple(image.shape)} {image.dtype}; its info says {expected}, and images are float32."
    )
    mask = batch.get("mask" if key == "image" else "target_mask")
    known = image if mask is None else image[mask.expand_as(image)]
    assert known.isfinite().all(), f"{name}: '{key}' has pixels that are not finite; mask them."
    assert side.unit, f"{name}: info.{key}.unit is empty; say in what unit the pixels are (Jy/beam)."


def _check_addresses(name: str, simulator: Simulator, batch: Batch, indices: Tensor, at: torch.device) -> None:
    again = simulator.simulate(indices, 1, at)
    for key, value in batch.items():
        assert torch.equal(value, again[key]), f"{name}: '{key}' differs between two calls with one seed."
    order = torch.tensor([len(indices) - 1, 0])
    for chosen in (indices[2:3], order):
        some = simulator.simulate(chosen, 1, at)
        for key, value in batch.items():
            part = value[chosen.to(value.device)]
            limit = ROUNDING * float(part.abs().max()) if part.is_floating_point() and part.numel() else 0.0
            difference = float((some[key].double() - part.double()).abs().max())
            assert difference <= limit, (
                f"{name}: '{key}' of index {chosen.tolist()} depends on the other indices of its batch (it differs by "
                f"{difference:.3g}); draw every number by index, for example with rvtool.data.chance."
            )
    other = simulator.simulate(indices, 2, at)["image"]
    assert not torch.equal(other, batch["image"]), f"{name} makes the same images for another seed."
    assert not torch.equal(batch["image"][0], batch["image"][-1]), f"{name} makes the same image for every index."
