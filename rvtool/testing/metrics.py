"""The contract of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from rvtool.component import Component
from rvtool.kinds import DataInfo
from rvtool.testing.examples import example_batch, example_data


def check_metric(
    component: Component,
    settings: Mapping[str, Any] | None = None,
    *,
    data: DataInfo | None = None,
    good: tuple[Tensor, Tensor] | None = None,
    bad: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Check that a metric is one of torchmetrics', says which way is better, and adds up over batches.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    data
        What it is told of the data; small images where left out.
    good, bad
        Prediction and target for ``update``, of a good and of a bad answer; images where left out.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    data = data or example_data()
    name = f"Metric '{component.name}'"
    metric = component.load()(component.configure(settings), data)
    assert isinstance(metric, Metric), f"{name} must be a torchmetrics.Metric, so that it adds up over processes."
    assert isinstance(metric.higher_is_better, bool), f"{name} must set 'higher_is_better' to True or False."
    truth = example_batch(data)["image"]
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    good = good or (truth + 0.01 * noise, truth)
    bad = bad or (truth + 0.5 * noise, truth)
    high, low = _compute(name, metric, good), _compute(name, metric, bad)
    right = high > low if metric.higher_is_better else high < low
    assert right, (
        f"{name} gives {high:.4g} to a good answer and {low:.4g} to a bad one, and says higher_is_better="
        f"{metric.higher_is_better}."
    )
    metric.reset()
    half = len(good[0]) // 2
    metric.update(good[0][:half], good[1][:half])
    metric.update(good[0][half:], good[1][half:])
    parts = float(metric.compute())
    assert abs(parts - high) <= 1e-3 * max(1.0, abs(high)), (
        f"{name} gives {high:.5g} for one batch and {parts:.5g} for the same images in two; keep sums as states and "
        "divide in compute()."
    )


def _compute(name: str, metric: Metric, answer: tuple[Tensor, Tensor]) -> float:
    metric.reset()
    metric.update(*answer)
    value = metric.compute()
    assert value.numel() == 1 and value.isfinite().all(), f"{name} must compute one finite number, and gave {value}."
    return float(value)
