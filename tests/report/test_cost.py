"""What a model costs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rvtool.report import cost as module
from rvtool.report.cost import cost


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(16, 4, bias=False)
        self.frozen = nn.Linear(4, 2).requires_grad_(False)
        self.sizes = []

    def predict(self, batch):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.sizes.append(len(batch["image"]))
        return self.frozen(self.body(batch["image"].flatten(1)))


def test_counts_and_times():
    model = Network().train()
    found = cost(
        model, {"image": torch.randn(3, 1, 4, 4), "label": torch.zeros(3, dtype=torch.long)}, training_images=37
    )
    assert found["parameters"] == 74
    assert found["trainable_parameters"] == 64
    assert found["parameters_per_training_image"] == 2
    assert set(found["ms_per_image"]) == {"1", "64"}
    assert all(ms > 0 for ms in found["ms_per_image"].values())
    assert found["peak_memory_mb"] >= 0
    assert found["memory_is"] == "allocated by PyTorch"
    assert found["device"]
    assert set(model.sizes) == {1, 64}
    assert model.training


def test_memory_of_a_batch_is_seen():
    class Hungry(nn.Module):
        def forward(self, batch):
            return torch.ones(10_000_000 if len(batch["image"]) == 64 else 1)  # 40 MB

    found = cost(Hungry(), {"image": torch.zeros(1, 1, 2, 2)})
    assert found["parameters_per_training_image"] is None
    assert 40 <= found["peak_memory_mb"] < 41


def test_median_ignores_a_hiccup(monkeypatch):
    ticks = iter(t for start, took in enumerate((1, 1, 9, 1, 1)) for t in (100 * start, 100 * start + took))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    assert module._median_s(lambda batch: None, {}, torch.device("cpu")) == 1


@pytest.mark.gpu
def test_memory_on_a_gpu_includes_the_model():
    model = nn.Conv2d(1, 8, 3).cuda()
    found = cost(model, {"image": torch.randn(1, 1, 64, 64, device="cuda")}, answer=lambda batch: model(batch["image"]))
    assert found["peak_memory_mb"] > 64 * 8 * 62 * 62 * 4 / 1e6
    assert found["memory_is"] == "allocated on the GPU"
