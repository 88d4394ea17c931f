"""The contract of augmenters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from rvtool.component import Component
from rvtool.data.stretch import measure
from rvtool.kinds import Augmenter, Batch, DataInfo
from rvtool.testing.examples import example_batch, example_data, own_randomness

AXES = {"sky", "frequency-time", "metres"}
GLARE = 1e4  # what unknown pixels hold during the check of the mask; real values are about 1


def check_augmenter(
    component: Component, settings: Mapping[str, Any] | None = None, *, data: DataInfo | None = None
) -> None:
    """Check that an augmenter keeps shapes, types and masks, and depends on its generator only.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    data
        What it is told of the data; small square images with a target where left out.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    data = data or example_data()
    name = f"Augmenter '{component.name}'"
    augmenter = component.load()(component.configure(settings), data)
    assert isinstance(augmenter, Augmenter), f"{name} needs the attribute 'axes' and (batch, generator) -> batch."
    assert augmenter.axes and set(augmenter.axes) <= AXES, f"{name}: axes are {augmenter.axes}; known: {sorted(AXES)}."
    late = getattr(augmenter, "after_stretch", False)
    assert isinstance(late, bool), f"{name}: 'after_stretch' says whether it acts after the stretch, True or False."
    batch = _training_batch(data)
    before = {key: value.clone() for key, value in batch.items()}
    with own_randomness(name):
        first = augmenter(batch, _generator(0))
    again = augmenter(batch, _generator(0))
    for key, value in before.items():
        assert torch.equal(batch[key], value), f"{name} changed '{key}' of the batch that it was given; make a new one."
        assert key in first, f"{name} lost '{key}' of the batch."
        assert torch.equal(first[key], again[key]), f"{name}: '{key}' differs between two calls with one generator."
    others = [augmenter(batch, _generator(seed)) for seed in range(1, 9)]
    assert any(not torch.equal(first["image"], other["image"]) for other in others), (
        f"{name} made the same images of eight generators: it does not draw from the generator, or does nothing."
    )
    for moved in (first, *others):
        _check_shapes(name, before, moved)
    _check_mask(name, augmenter, batch)


def _training_batch(data: DataInfo) -> Batch:
    """Make an example with the statistics of each image, which training batches have besides."""
    batch = example_batch(data)
    for side, mask in (("image", "mask"), ("target", "target_mask")):
        if side in batch:
            measured = [
                measure(image.numpy(), known[0].numpy()) for image, known in zip(batch[side], batch[mask], strict=True)
            ]
            batch[f"{side}_statistics"] = torch.from_numpy(np.stack(measured))
    return batch


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_shapes(name: str, before: Batch, after: Batch) -> None:
    for key, value in before.items():
        new = after[key]
        if key == "label" and new.ndim == 2:  # labels become soft where images are mixed
            assert new.shape[0] == value.shape[0] and new.is_floating_point(), (
                f"{name}: soft labels must be (B, K) float32, and are {tuple(new.shape)} {new.dtype}."
            )
            sums = new.sum(dim=1)
            assert torch.allclose(sums, torch.ones_like(sums), atol=1e-4) and (new >= 0).all(), (
                f"{name}: a soft label is the probability of each class, so each row must sum to 1."
            )
            continue
        assert (new.shape, new.dtype) == (value.shape, value.dtype), (
            f"{name}: '{key}' was {tuple(value.shape)} {value.dtype} and became {tuple(new.shape)} {new.dtype}; "
            "shape and type stay."
        )
        assert not new.is_floating_point() or new.isfinite().all(), f"{name}: '{key}' has values that are not finite."


def _check_mask(name: str, augmenter: Augmenter, batch: Batch) -> None:
    """Let unknown pixels glare, and look for their light in pixels that are said to be known."""
    batch = dict(batch)
    for key, mask in (("image", "mask"), ("target", "target_mask")):
        if key in batch:
            unknown = torch.zeros_like(batch[mask])
            unknown[..., ::5, ::5] = True
            batch[mask] = batch[mask] & ~unknown
            batch[key] = torch.where(unknown, GLARE, batch[key])
    for seed in range(4):
        after = augmenter(batch, _generator(seed))
        for key, mask in (("image", "mask"), ("target", "target_mask")):
            if key in batch:
                seen = after[key].abs().amax(dim=1, keepdim=True)[after[mask]]
                assert seen.numel() == 0 or seen.max() < GLARE / 100, (
                    f"{name}: '{mask}' calls pixels known that were made from unknown ones; move the mask with the "
                    "image, and clear it wherever an unknown pixel takes part."
                )
