"""Dynamic spectra from end to end: a drawn source, the receiver's noise, interference, and what is lost."""

from __future__ import annotations

import torch

from rvtool.kinds import Batch, Side, SimulatorInfo
from rvtool_plugins.simulators.dynamic_spectrum import CLASSES, QUALITIES, DynamicSpectrumConfig
from rvtool_plugins.simulators.dynamic_spectrum.receiver import Receiver
from rvtool_plugins.simulators.dynamic_spectrum.sources import Columns, Sources

BLOCK_PIXELS = 2**19  # worked on at a time, so that intermediate results stay in the processor's cache
BLOCK_PIXELS_GPU = 2**26  # and on a GPU, so that they fit its memory


class DynamicSpectrum:
    """Flux density in channels (rows, the lowest first) and samples (columns), Jy.

    The class of an image is its index modulo the number of classes, so any range of indices is balanced. An image is
    the source's steady spectrum, its pulses or its scintillation, and noise, baseline and interference of `Receiver`.
    The mask says what was lost; there the image is 0.

    Parameters
    ----------
    config
        Validated settings.

    Raises
    ------
    ConfigError
        A class has no line in the band.
    """

    def __init__(self, config: DynamicSpectrumConfig) -> None:
        self.config = config
        side = Side(
            1,
            config.channels,
            config.samples,
            "frequency-time",
            "Jy",
            centre_mhz=config.centre_mhz,
            channel_mhz=config.channel_mhz,
            sample_s=config.sample_s,
        )
        self.info = SimulatorInfo(image=side, classes=config.classes, words={"quality": QUALITIES})
        self._placed: dict[torch.device, tuple[Sources, Receiver]] = {}
        self._on(torch.device("cpu"))  # says now what does not fit

    def simulate(self, indices: torch.Tensor, seed: int, device: torch.device) -> Batch:
        """Simulate the images of `indices`; an index has one image a seed, in whatever batch.

        Returns
        -------
        ``image (B, 1, C, T)``, Jy; ``mask (B, 1, C, T)``; ``label (B,)``; and ``(B,)`` each, 0 where a class has no
        such thing: what `Sources.draw` and `Receiver.draw` give, ``rfi_channels``, ``rfi_bursts``,
        ``unknown_fraction``.
        """
        indices = indices.to(device)
        sources, receiver = self._on(indices.device)
        kinds = torch.tensor([CLASSES.index(name) for name in self.config.classes], device=indices.device)
        label = indices % len(self.config.classes)
        kind = kinds[label]
        columns = sources.draw(kind, indices, seed)
        columns |= receiver.draw(indices, seed, columns["flux_jy"])
        pixels = self.config.channels * self.config.samples
        block = max((BLOCK_PIXELS if indices.device.type == "cpu" else BLOCK_PIXELS_GPU) // pixels, 1)
        image = torch.empty(len(indices), self.config.channels, self.config.samples, device=indices.device)
        mask = torch.empty(len(indices), 1, *image.shape[1:], dtype=torch.bool, device=indices.device)
        found: list[Columns] = []
        for first in range(0, len(indices), block):
            part = slice(first, first + block)
            some = {name: values[part] for name, values in columns.items()}
            found.append(self._observe(kind[part], some, indices[part], seed, image[part]))
            mask[part, 0] = receiver.known(some, seed, indices[part])
            image[part].masked_fill_(~mask[part, 0], 0.0)
        counts = {name: torch.cat([one[name] for one in found]) for name in found[0]}
        unknown = 1 - mask.flatten(1).float().mean(1)
        return {"image": image[:, None], "mask": mask, "label": label, **columns, **counts, "unknown_fraction": unknown}

    def _on(self, device: torch.device) -> tuple[Sources, Receiver]:
        """Return the sources and the receiver on a device."""
        if device not in self._placed:
            sources = Sources(self.config, device)
            self._placed[device] = sources, Receiver(self.config, sources.mhz, sources.seconds)
        return self._placed[device]

    def _observe(
        self, kind: torch.Tensor, columns: Columns, indices: torch.Tensor, seed: int, image: torch.Tensor
    ) -> Columns:
        """Fill `image` and return how much interference there is."""
        sources, receiver = self._on(indices.device)
        spectrum = sources.spectrum(kind, columns)
        level, drift = receiver.baseline(columns, seed, indices)
        rows, times, counts = receiver.interference(columns, seed, indices)
        ones = torch.ones_like(level)
        receiver.noise(seed, indices, image).mul_(columns["noise_jy"][:, None, None])
        rows = torch.cat([rows, (spectrum + level)[..., None], ones[..., None]], 2)
        image.baddbmm_(rows, torch.cat([times, torch.ones_like(drift)[:, None], drift[:, None]], 1))
        for name, varying in (("pulsar", sources.pulses), ("quasar", sources.scintillation)):
            chosen = torch.nonzero(kind == CLASSES.index(name))[:, 0]
            if len(chosen):
                extra = varying({key: values[chosen] for key, values in columns.items()}, indices[chosen], seed)
                image.index_add_(0, chosen, extra if name == "pulsar" else extra.mul_(spectrum[chosen, :, None]))
        return counts
