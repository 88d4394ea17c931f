"""How another survey would have seen images: a larger beam, coarser pixels, more noise. Not an interpolation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rvtool.data import chance
from rvtool.data.beams import SIGMA_PER_FWHM, per
from rvtool.data.dataset import open_dataset, read_side
from rvtool.data.pack import open_pack
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Beam, SimulatorInfo

if TYPE_CHECKING:
    import pyarrow as pa

    from rvtool.kinds import Batch
    from rvtool_plugins.simulators.lower_resolution import LowerResolutionConfig

NOISE_BEAMS = 0.71  # white noise convolved with so much of a beam correlates as the beam
NOISE_DRAWS = 2  # the first two say where the crop lies
JANSKY = {"": 1.0, "m": 1e3, "u": 1e6, "µ": 1e6, "μ": 1e6, "k": 1e-3}
"""How many of a prefixed unit are one Jansky."""
ALIKE = 0.05  # part by which two beams may differ along their axes and count as round


class LowerResolution:
    """Makes pairs of the images of a dataset: ``image`` is coarser, ``target`` the image itself.

    Brightness is convolved with the Gaussian that makes one beam of the other, counted per new beam, and averaged over
    `factor` squared pixels (in units per pixel: added up); then noise is added that correlates as the new beam. Fluxes
    stay. The peak of a point source stays but for the new pixels, which are averages: a few per cent less where they
    are a sixth of the new beam, up to a fifth less where they are a third. What is unknown of an image counts as empty
    sky where it is convolved, and a new pixel is unknown where any of its pixels was.

    The images' own noise is convolved like everything else, and another survey would not have seen it: of FIRST's 0.15
    mJy it makes 0.4 mJy in a beam of 21.6 arcsec, beside which `rms_jy_beam` is added in squares.

    Raises
    ------
    ConfigError
        No dataset is named, the beam is not larger than that of the images, or noise in Jy/beam is asked for in another
        unit.
    DataError
        The images do not tell their beam or pixel scale and the settings do not either, or they cannot be used.
    """

    def __init__(self, config: LowerResolutionConfig) -> None:
        if config.data is None:
            raise ConfigError(
                "lower-resolution makes pairs of images that are there: name them, for example "
                "rvtool simulate lower-resolution --data data/first --out data/pairs"
            )
        if config.shift and not config.crop:
            raise ConfigError("--shift moves the crop, and there is none; give --crop too, or leave --shift out.")
        self.config = config
        self.dataset = open_dataset(config.data)
        info = self.dataset.info.get("image", {})
        # what lies beside the part that is kept is convolved into it
        margin = math.ceil(2 * config.to_beam_arcsec / (info.get("pixel_arcsec") or config.image_pixel_arcsec or 1))
        self.pack = open_pack(self.dataset, config.crop + 2 * (margin + config.shift) if config.crop else 0)
        side = read_side(info, *self.pack.pixels.shape[1:])
        if config.crop:
            side = replace(side, height=config.crop, width=config.crop)
        pixel = side.pixel_arcsec or config.image_pixel_arcsec
        beam = side.beam or (
            Beam(config.from_beam_arcsec, config.from_beam_arcsec) if config.from_beam_arcsec else None
        )
        if not pixel:
            raise DataError(f"The images of {config.data} do not tell their pixel scale; set --image-pixel-arcsec.")
        if beam is None:
            raise DataError(f"The images of {config.data} do not tell their beam; set --from-beam-arcsec.")
        if abs(beam.major_arcsec - beam.minor_arcsec) > ALIKE * beam.major_arcsec:
            raise DataError(
                f"The images of {config.data} have an oblong beam ({beam.major_arcsec:.3g} x {beam.minor_arcsec:.3g} "
                "arcsec), and lower-resolution knows round ones."
            )
        old = math.sqrt(beam.major_arcsec * beam.minor_arcsec)
        wider = math.sqrt(max(config.to_beam_arcsec**2 - old**2, 0.0))
        if config.to_beam_arcsec < old or not (wider or config.rms_jy_beam or config.factor > 1):
            raise ConfigError(f"--to-beam-arcsec is {config.to_beam_arcsec:g}, and the images have {old:.3g} already.")
        self.height, self.width = (length // config.factor * config.factor for length in (side.height, side.width))
        if min(self.height, self.width) < config.factor:
            raise ConfigError(f"--factor {config.factor} leaves nothing of images of {side.width}x{side.height} px.")
        self.sigma_px = SIGMA_PER_FWHM * wider / pixel  # 0 with the same beam, where only noise is added
        unit, counted = side.unit.lower().replace(" ", ""), per(side.unit)
        self.per_beam = (config.to_beam_arcsec / old) ** 2 if counted == "beam" else 1.0
        if counted == "pixel":
            self.per_beam = float(config.factor**2)
        prefix = unit.partition("jy")[0]
        if config.rms_jy_beam and (prefix not in JANSKY or counted != "beam"):
            raise ConfigError(
                f"The images of {config.data} are in '{side.unit}', so noise in Jy/beam cannot be added; set "
                "--rms-jy-beam 0."
            )
        self.rms = config.rms_jy_beam * JANSKY.get(prefix, 1.0)
        side = replace(side, unit=side.unit or "relative")  # pictures tell none
        target = replace(side, height=self.height, width=self.width, pixel_arcsec=pixel, beam=beam)
        image = replace(
            target,
            height=self.height // config.factor,
            width=self.width // config.factor,
            pixel_arcsec=pixel * config.factor,
            beam=Beam(config.to_beam_arcsec, config.to_beam_arcsec),
        )
        self.info = SimulatorInfo(image, target)

    @property
    def rows(self) -> pa.Table:
        """The rows of the dataset's manifest, one an image that can be made; of those the pairs are."""
        return self.dataset.table

    def simulate(self, indices: Tensor, seed: int, device: torch.device) -> Batch:
        """Make pairs; indices beyond the dataset's length begin anew, with other noise and another shift.

        Returns
        -------
        ``image (B, C, H / factor, W / factor)`` and ``target (B, C, H, W)`` with ``mask`` and ``target_mask``.
        """
        config = self.config
        rows = (indices % len(self.dataset)).numpy()
        pixels = torch.from_numpy(self.pack.pixels[rows]).to(device).float()
        known = torch.isfinite(pixels).all(dim=1, keepdim=True)
        pixels = torch.where(known, pixels, 0.0)
        wide = _smooth(pixels, self.sigma_px)
        places = self._places(seed, indices, pixels.shape[-2:])
        target, known, wide = (
            torch.stack(
                [
                    plane[:, top : top + self.height, left : left + self.width]
                    for plane, (top, left) in zip(planes, places, strict=True)
                ]
            )
            for planes in (pixels, known, wide)
        )
        coarse = torch.nn.functional.avg_pool2d(wide * self.per_beam, config.factor)
        if self.rms:
            coarse = coarse + self.rms * self._noise(seed, indices, coarse)
        mask = -torch.nn.functional.max_pool2d(-known.float(), config.factor) > 0
        good = torch.from_numpy(self.pack.good[rows]).to(device)[:, None, None, None]
        return {"image": coarse, "mask": mask & good, "target": target, "target_mask": known & good}

    def _places(self, seed: int, indices: Tensor, shape: torch.Size) -> list[list[int]]:
        """Say where each image is cut: its top and left."""
        centre = [(have - want) // 2 for have, want in zip(shape, (self.height, self.width), strict=True)]
        farthest = self.config.shift
        draws = chance.uniform(seed, indices.cpu(), 2)
        moved = (draws * (2 * farthest + 1)).floor().long() - farthest
        places: list[list[int]] = (torch.tensor(centre) + moved).tolist()
        return places

    def _noise(self, seed: int, indices: Tensor, like: Tensor) -> Tensor:
        """Draw noise of unit rms that correlates as the new beam, of the shape of a batch."""
        assert self.info.image.pixel_arcsec is not None
        sigma = NOISE_BEAMS * SIGMA_PER_FWHM * self.config.to_beam_arcsec / self.info.image.pixel_arcsec
        margin = math.ceil(4 * sigma)  # else it would wrap about
        shape = (like.shape[1], *(side + margin for side in like.shape[-2:]))
        white = chance.normal(seed, indices.to(like.device), shape, NOISE_DRAWS)
        smooth = _smooth(white, sigma, wraps=True)
        # white noise keeps the sum of its kernel's squares as its variance
        power = _transfer(shape[1:], sigma, like.device).square().mean()
        return smooth[..., : like.shape[-2], : like.shape[-1]] / power.sqrt()


def _transfer(shape: tuple[int, ...], sigma_px: float, device: torch.device) -> Tensor:
    """Return the Fourier transform of a Gaussian of unit integral ``(H, W)``."""
    y, x = (torch.fft.fftfreq(side, device=device) for side in shape)
    return torch.exp(-2 * (math.pi * sigma_px) ** 2 * (y[:, None] ** 2 + x**2))


def _smooth(images: Tensor, sigma_px: float, wraps: bool = False) -> Tensor:
    """Convolve ``(B, C, H, W)`` with a Gaussian of unit integral; beyond the edges the sky is empty, or wraps about."""
    height, width = images.shape[-2:]
    margin = 0 if wraps else math.ceil(5 * sigma_px)
    shape = (height + margin, width + margin)
    transfer = _transfer(shape, sigma_px, images.device)[:, : shape[1] // 2 + 1]
    made = torch.fft.irfft2(torch.fft.rfft2(images, s=shape) * transfer, s=shape)
    return made[..., :height, :width]
