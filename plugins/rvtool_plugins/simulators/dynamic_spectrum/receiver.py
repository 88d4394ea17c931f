"""What the receiver makes of a source: noise, drift, ripple, interference, and what gets lost.

All that varies in frequency or in time alone, or as a product of both, comes as rows and columns: ``rows (B, C, K)``
and ``columns (B, K, T)`` whose product is the sum of K terms.

References
----------
Condon & Ransom 2016, Essential Radio Astronomy, eq. 3.162 (the radiometer equation). Barnes et al. 2001, MNRAS 322, 486
(the 5.8 MHz standing wave of a 64 m dish).
"""

from __future__ import annotations

import math

import torch

from rvtool.data import chance
from rvtool_plugins.simulators.dynamic_spectrum import DynamicSpectrumConfig, fields

LEVELS = 2**16  # of the noise: each draw of 64 bits gives four numbers
DRIFT_S = (0.1, 1.0)  # time in which the gain drifts, s
RIPPLE_MHZ = (2.5, 15.0)  # of standing waves, c / 2F for focal lengths F of 60 to 10 m
STRENGTH = (0.5, 15.0)  # of interference, in units of the noise of a pixel
LINE_CHANNELS = (0.3, 1.0)  # width of narrow interference, standard deviations
KEYED_S = (0.05, 2.0)  # period with which narrow interference goes on and off
BURST_S = (0.002, 0.03)  # width of bursts, standard deviations
LOST_SAMPLES = 16  # that get lost together: a packet

# where each purpose finds its draws, beyond those of the sources
RECEIVER_DRAWS, DRIFT_DRAWS, LOSS_DRAWS, LINE_DRAWS, BURST_DRAWS, NOISE_DRAWS = (2**30 + n * 2**16 for n in range(6))


class Receiver:
    """The receiver of a configuration on a device."""

    def __init__(self, config: DynamicSpectrumConfig, mhz: torch.Tensor, seconds: torch.Tensor) -> None:
        self.config, self._mhz, self._seconds = config, mhz, seconds
        self._channel = torch.arange(config.channels, dtype=torch.float32, device=mhz.device)
        steps = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
        normal = torch.special.ndtri(steps)
        self._normal = (normal / normal.square().mean().sqrt()).float().to(mhz.device)
        self._drift_nodes = fields.nodes(float(seconds[-1]), DRIFT_S[0] / 2)
        self._line_slots, self._burst_slots = (
            math.ceil(2 * max(means)) + 1 if max(means) else 0 for means in (config.rfi_channels, config.rfi_bursts)
        )

    def draw(self, indices: torch.Tensor, seed: int, flux_jy: torch.Tensor) -> dict[str, torch.Tensor]:
        """Draw the quality of each observation, and what follows from it.

        Returns
        -------
        ``quality`` (0, 1, 2), ``sefd_jy``, ``background_jy`` (of the sky, taken off, though its noise stays),
        ``noise_jy`` (rms of a pixel: the power of receiver, background and source over sqrt(n dnu dt)), ``level_jy``
        (error of the zero level), ``drift_jy`` and ``ripple_jy`` (rms), ``drift_s``, ``ripple_mhz``.
        """
        config = self.config
        chances = chance.uniform(seed, indices, 6, RECEIVER_DRAWS)
        mix = torch.tensor(config.quality_mix, dtype=torch.float64).cumsum(0)
        quality = (chances[:, :1] > (mix / mix[-1])[:-1].to(chances)).sum(1)
        sefd, part = (
            torch.tensor(levels, device=indices.device)[quality]
            for levels in (config.sefd_jy, config.baseline_fraction)
        )
        background = 0.5 * 20 ** chances[:, 1]
        power = sefd + background + flux_jy
        integrated = config.polarisations * config.channel_mhz * 1e6 * config.sample_s
        return {
            "quality": quality,
            "sefd_jy": sefd,
            "background_jy": background,
            "noise_jy": power / math.sqrt(integrated),
            "level_jy": 0.25 * power * chance.normal(seed, indices, (1,), RECEIVER_DRAWS + 64)[:, 0],
            "drift_jy": part * power * (0.5 + chances[:, 2]),
            "drift_s": DRIFT_S[0] * (DRIFT_S[1] / DRIFT_S[0]) ** chances[:, 3],
            "ripple_jy": part * power * (0.5 + chances[:, 4]),
            "ripple_mhz": RIPPLE_MHZ[0] * (RIPPLE_MHZ[1] / RIPPLE_MHZ[0]) ** chances[:, 5],
        }

    def noise(self, seed: int, indices: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Fill `image (B, C, T)` with white noise of unit rms: normal numbers to 16 bits, with tails to 4.2."""
        count = image[0].numel()
        levels = chance.bits(seed, indices, math.ceil(count / 4), NOISE_DRAWS).view(torch.int16)[:, :count]
        places = levels.to(torch.int32).add_(LEVELS // 2).flatten()
        torch.index_select(self._normal, 0, places, out=image.view(-1))
        return image

    def baseline(
        self, drawn: dict[str, torch.Tensor], seed: int, indices: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return level and ripple ``(B, C)`` and drift ``(B, T)``, Jy."""
        phase = 2 * math.pi * chance.uniform(seed, indices, 1, RECEIVER_DRAWS + 128)
        waves = 2 * math.pi * self._mhz / drawn["ripple_mhz"][:, None] + phase
        ripple = math.sqrt(2) * drawn["ripple_jy"][:, None] * torch.sin(waves)
        white = chance.normal(seed, indices, (self._drift_nodes,), DRIFT_DRAWS)
        drift = fields.process(self._seconds, drawn["drift_s"] / 2, white)
        return drawn["level_jy"][:, None] + ripple, drawn["drift_jy"][:, None] * drift

    def interference(
        self, drawn: dict[str, torch.Tensor], seed: int, indices: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return interference as ``rows (B, C, K)`` and ``columns (B, K, T)``, Jy, and how many of each kind.

        Narrow: a few channels, some of it keyed on and off. Bursts: all channels at once, not dispersed.
        """
        count, length = self.config.channels, float(self._seconds[-1])
        there, place, width, period, phase, duty, strength = self._slots(seed, indices, self._line_slots, LINE_DRAWS)
        lines = there < self._part(drawn, self.config.rfi_channels, self._line_slots)
        sigma = LINE_CHANNELS[0] + (LINE_CHANNELS[1] - LINE_CHANNELS[0]) * width
        shape = torch.exp(-0.5 * ((self._channel[:, None] - count * place[:, None]) / sigma[:, None]) ** 2)
        keyed = KEYED_S[0] * (KEYED_S[1] / KEYED_S[0]) ** period
        on = (self._seconds / keyed[..., None] + phase[..., None]).frac() < (0.3 + duty)[..., None]  # above 1: always
        line_rows = shape * (self._strength(strength) * lines * drawn["noise_jy"][:, None])[:, None]

        there, place, width, tilt, strength, *_ = self._slots(seed, indices, self._burst_slots, BURST_DRAWS)
        bursts = there < self._part(drawn, self.config.rfi_bursts, self._burst_slots)
        sigma = BURST_S[0] * (BURST_S[1] / BURST_S[0]) ** width
        pulse = (self._seconds - length * place[..., None]).div_(sigma[..., None]).square_().mul_(-0.5)
        pulse = pulse.clamp_(min=fields.FAINTEST).exp_()  # (B, K, T)
        slope = 1 + (2 * tilt - 1)[:, None] * (2 * self._channel / (count - 1) - 1)[:, None]
        burst_rows = slope * (self._strength(strength) * bursts * drawn["noise_jy"][:, None])[:, None]

        counts = {"rfi_channels": lines.sum(1), "rfi_bursts": bursts.sum(1)}
        return torch.cat([line_rows, burst_rows], 2), torch.cat([on.float(), pulse], 1), counts

    def _slots(self, seed: int, indices: torch.Tensor, slots: int, start: int) -> tuple[torch.Tensor, ...]:
        return chance.uniform(seed, indices, 7 * slots, start).unflatten(1, (7, slots)).unbind(1)

    def _part(self, drawn: dict[str, torch.Tensor], means: tuple[float, ...], slots: int) -> torch.Tensor:
        """Return how likely a slot is taken, ``(B, 1)``: their number is binomial with the mean of the quality."""
        return torch.tensor(means, device=self._mhz.device)[drawn["quality"], None] / max(slots, 1)

    def _strength(self, chances: torch.Tensor) -> torch.Tensor:
        return STRENGTH[0] * (STRENGTH[1] / STRENGTH[0]) ** chances

    def known(self, drawn: dict[str, torch.Tensor], seed: int, indices: torch.Tensor) -> torch.Tensor:
        """Return what was not lost, ``(B, C, T)`` bool: half the loss is channels, half is packets of samples."""
        count, packets = self.config.channels, math.ceil(self.config.samples / LOST_SAMPLES)
        part = torch.tensor(self.config.dropped_fraction, device=self._mhz.device)[drawn["quality"], None]
        each = 1 - torch.sqrt(1 - part)  # lost with either
        chances = chance.uniform(seed, indices, count + packets, LOSS_DRAWS).split([count, packets], 1)
        # the last of each always comes through, so that no image is blank
        channel, packet = ((one >= each) | (one == one.amax(1, keepdim=True)) for one in chances)
        sample = packet.repeat_interleave(LOST_SAMPLES, 1)[:, : self.config.samples]
        return channel[:, :, None] & sample[:, None]
