"""A small network that learns classes from pixels: the same few steps for whatever it is asked to tell apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 32, 64)
BATCH = 64
RATE, DECAY = 3e-3, 0.02


def learn(
    images: np.ndarray,
    labels: np.ndarray,
    kinds: int,
    *,
    steps: int,
    symmetric: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Callable[[np.ndarray], np.ndarray]:
    """Train four convolutions for so many steps; return what answers with probabilities ``(M, K)``.

    Every class is shown equally often. Nothing is chosen on any image: neither when to end nor how fast to learn.

    Parameters
    ----------
    images : (N, C, H, W)
        Stretched.
    labels : (N,)
    symmetric
        Whether square images are shown in their eight turns and mirror images, and the mean answer to these is taken.
    """
    pixels, truth = torch.from_numpy(images).float(), torch.from_numpy(labels).long()
    mean, deviation = pixels.mean(), pixels.std().clamp_min(1e-6)
    turns = 8 if symmetric and images.shape[-1] == images.shape[-2] else 1
    weights = 1 / torch.bincount(truth, minlength=kinds).clamp_min(1)[truth].double()
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _network(images.shape[1], kinds).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        rows = torch.multinomial(weights, BATCH, replacement=True, generator=draw)
        shown = (pixels[rows] - mean) / deviation
        shown = _turned(shown, int(torch.randint(turns, (), generator=draw)))
        loss = functional.cross_entropy(network(shown.to(device)), truth[rows].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()

    def answer(asked: np.ndarray) -> np.ndarray:
        found = []
        with torch.inference_mode():
            for part in torch.from_numpy(asked).float().split(4 * BATCH):
                shown = ((part - mean) / deviation).to(device)
                views = [network(_turned(shown, turn)).softmax(dim=1) for turn in range(turns)]
                found.append(torch.stack(views).mean(dim=0).double().cpu())
        return torch.cat(found).numpy()

    return answer


def _turned(images: Tensor, turn: int) -> Tensor:
    """Return one of the eight turns and mirror images of a square."""
    return torch.rot90(images.flip(-1) if turn >= 4 else images, turn % 4, (-2, -1))


def _network(channels: int, kinds: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place, width in enumerate(WIDTHS):
        kernel = 3 if place else 5
        layers += [
            nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, kinds))
