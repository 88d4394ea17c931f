"""Judges autoencoders: what their codes cost, what comes back of them, and what other codecs make of the same bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from rvtool.data.batches import Prepare
from rvtool.kinds import Batch
from rvtool.report import html, tradeoff
from rvtool.report.tables import number
from rvtool.runs.run import Run
from rvtool.verbs.evaluate import Settings, images, rates, translation
from rvtool.verbs.evaluate.degradation import plane_statistics
from rvtool.verbs.evaluate.images import Further, Made, Rival

STEP_SIGMA = 0.5  # whole steps in which pixels are counted for the evidence bound: those of --max-error 0.25sigma
SEED_FIGURES = {"vqvae": 2.68, "vae": 3.89}
SEED_NOTE = (
    "The 'bits per dimension' of 2.68 (VQ-VAE) and 3.89 (VAE) that an earlier study told of were sums of squared "
    "errors over a batch, divided by 22500 ln 2: no code was written and no likelihood stated, so they are no rates "
    "and cannot be compared with these."
)


@dataclass
class Costs:
    """What the codes of images cost, added batch by batch.

    Attributes
    ----------
    payload_bytes, estimated_bits
        Of the codes: as written, and by the prior's probabilities.
    latent_nats, pixel_nats, step_nats
        Of the evidence bound: the latents, the density of the stretched pixels, and what turns that into the
        probability of a whole step of the physical pixel.
    values
        Known pixels and channels.
    used
        (maps, alphabet): how often each symbol was used.
    """

    payload_bytes: int = 0
    estimated_bits: float = 0.0
    latent_nats: float = 0.0
    pixel_nats: float = 0.0
    step_nats: float = 0.0
    values: int = 0
    stepped: int = 0
    used: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, run: Run, batch: Batch, symbols: np.ndarray) -> None:
        """Count a batch and its symbols ``(B, maps, h, w)``."""
        prior = run.model.prior
        for maps in symbols:
            self.payload_bytes += len(prior.encode(maps))
            self.estimated_bits += float(prior.bits(maps).sum())
        size = prior.alphabet
        shown = np.clip(symbols + size // 2, 0, size - 1) if prior.open else symbols
        counts = np.stack([np.bincount(shown[:, one].ravel(), minlength=size) for one in range(shown.shape[1])])
        self.used = self.used + counts if self.used.size else counts
        latents, pixels = run.model.nats(batch)
        self.latent_nats += float(latents.sum())
        self.pixel_nats += float(pixels.sum())
        known = batch.get("target_mask", batch["mask"]).expand_as(batch.get("target", batch["image"]))
        self.values += int(known.sum())
        slopes = _log_slopes(run.prepare, batch) + math.log(STEP_SIGMA)
        steps = slopes + batch["image_statistics"][:, 1].double().log()[:, None, None, None]
        good = known & torch.isfinite(steps)
        self.step_nats += float(torch.where(good, steps, 0.0).sum())
        self.stepped += int(good.sum())

    def told(self, run: Run) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of it."""
        model, log2 = run.model, math.log(2)
        bits, estimate = 8 * self.payload_bytes / self.values, self.estimated_bits / self.values
        shares = self.used / self.used.sum(axis=1, keepdims=True)
        entropy = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)
        density = (self.latent_nats + self.pixel_nats) / self.values / log2
        stepped = self.stepped == self.values
        sigma = math.exp(float(model.log_sigma.detach()))
        told = {
            "payload_bits_per_pixel": bits,
            "estimated_bits_per_pixel": estimate,
            "overhead": bits / estimate - 1 if estimate else None,
            "fixed_bits_per_pixel": None if model.open else model.maps * math.log2(model.alphabet) / model.cell**2,
            "perplexity": float(np.exp(entropy).mean()),
            "perplexity_of_maps": [float(one) for one in np.exp(entropy)],
            "elbo_bits_per_pixel": density - self.step_nats / self.values / log2 if stepped else None,
            "elbo_latent_bits_per_pixel": self.latent_nats / self.values / log2,
            "elbo_density_bits_per_pixel": density,
            "likelihood": (
                f"normal, of deviation {sigma:.4g} in stretched units, each pixel by itself; pixels in whole steps of "
                f"{STEP_SIGMA:g} of their image's noise"
            ),
            "earlier_figures": {**SEED_FIGURES, "note": SEED_NOTE},
        }
        return told


def evaluate(settings: Settings, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Judge autoencoders, one by one."""
    return images.evaluate(settings, runs, console, _make)


def _make(run: Run, settings: Settings, console: Console) -> Made:
    """Ask a run for the images of its codes; where it makes cleaner images, for those that `predict` makes."""
    costs, model = Costs(), run.model

    def answer(batch: Batch) -> np.ndarray:
        image = batch["image"]
        symbols = model.symbols(image)
        costs.add(run, batch, symbols.cpu().numpy())
        made = model.predict(batch) if "target" in batch else model.image_of(model.restore(symbols), image.shape)
        physical = model.physical(batch, made)
        restored: np.ndarray = (physical["prediction"] if physical else made.float()).cpu().numpy()
        return restored

    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        asked = images.ask(run, settings, console, answer)
    target = asked.material.target
    true = asked.inputs if target is None else target.pixels[asked.rows].astype(np.float32)
    one = asked.beside(np.where(np.isfinite(asked.inputs).all(axis=1, keepdims=True), true, np.nan), model.made)
    found = rates.Tradeoff(one.truth)
    if target is not None:  # cleaner images: what counts as noise is that of the input, for the truth may have none
        sigma = float(np.median([plane_statistics(image[0])[1] for image in one.inputs]))
        one = replace(one, truth=replace(one.truth, sigma=sigma))
        one = replace(one, rivals=translation.rivals(one))
    else:
        codec = rates.codec_of(run)
        judged = () if codec is None else _rivals(found, run, codec)
        one = replace(one, rivals=judged, rivals_title="best codec of no fewer bits")
    return replace(one, further=lambda metrics, out: _further(one, costs, found, metrics, out))


def _rivals(found: rates.Tradeoff, run: Run, codec: Any) -> Iterator[Rival]:
    """Give what other codecs make of the same images in the least bits that are no fewer than the run's."""
    rates.own(found, run, codec)
    bits = found.points[rates.alone(run)][0].bits
    made: dict[str, list[tuple[float, np.ndarray]]] = {}
    for name, images_, said in rates.others(found):
        if images_ is None:
            yield name, None, [said]
        else:
            made.setdefault(name, []).append((found.points[name][-1].bits, images_))
    for name, several in made.items():
        rate, images_ = rates.nearest(several, bits)
        yield f"{name}, {rate:.3f} bit/px", images_, []


def _further(one: Made, costs: Costs, found: rates.Tradeoff, metrics: dict[str, Any], out: Path) -> Further:
    """Add rates, noise, peaks and the comparison of codecs to the metrics."""
    told = costs.told(one.run)
    planes, outputs, background = one.truth.pixels[:, 0], one.outputs[:, 0], one.truth.background[:, 0]
    peaks = tradeoff.peak_errors(planes, outputs, background)
    metrics |= {
        "rates": told,
        "noise": _noise(one),
        "bright": {"sources": len(peaks), "peak_error": float(np.median(peaks)) if peaks.size else None},
        "tradeoff": {name: [_plain(point._asdict()) for point in points] for name, points in found.points.items()},
    }
    metrics["headline"] = f"{number(told['payload_bits_per_pixel'])} bits a pixel, {metrics['headline']}"
    lines = list(_lines(metrics))
    heads = (
        "Codec",
        "Setting",
        "Bits a pixel",
        "PSNR, dB",
        "PSNR lit, dB",
        "Peaks above 7 sigma",
        "Stack of 0.3 sigma",
    )
    parts = [html.section("Rates and noise", *(f"<p>{line}</p>" for line in lines), f"<p>{SEED_NOTE}</p>")]
    if found.points:
        tradeoff.draw(found.points, out / "tradeoff.png")
        rows = [
            (name, p.asked, f"{p.bits:.3f}", f"{p.psnr:.2f}", f"{p.psnr_lit:.2f}", f"{100 * p.peak_error:.2f} %",
             f"{p.stack:.3f} +- {p.stack_error:.3f}")
            for name, points in found.points.items() for p in points
        ]  # fmt: skip
        caption = "What each codec reaches over its bits, headers not counted; grey is what science asks for."
        parts += [html.figure(out / "tradeoff.png", caption), html.section("Codecs", html.table(heads, rows))]
    return Further(lines, parts)


def _noise(one: Made) -> dict[str, float | None]:
    """Say what became of the noise of the background: how much of it the output has, and how much is left out of it.

    ``score`` is Var(input - output) / sigma^2 there: 1 where all noise was taken out and nothing else, 0 where all is
    kept. The background is what lies within 3 sigma of its median.
    """
    kept, scores = [], []
    inputs, outputs, background = one.inputs[:, 0], one.outputs[:, 0], one.truth.background[:, 0]
    for image, output, (floor, sigma) in zip(inputs, outputs, background, strict=True):
        empty = np.isfinite(image) & (np.abs(image - floor) < 3 * sigma)
        if sigma > 0 and empty.any():
            kept.append(float(output[empty].std() / image[empty].std()))
            scores.append(float(np.var((image - output)[empty]) / sigma**2))
    return {"kept": float(np.median(kept)) if kept else None, "score": float(np.median(scores)) if scores else None}


def _lines(metrics: dict[str, Any]) -> Iterator[str]:
    told, noise, bright = metrics["rates"], metrics["noise"], metrics["bright"]
    overhead = "" if told["overhead"] is None else f" ({100 * told['overhead']:+.2f} % of what its prior tells)"
    fixed = told["fixed_bits_per_pixel"]
    yield (
        f"Codes: {told['payload_bits_per_pixel']:.4f} bits a pixel as written{overhead}"
        + (f", {fixed:.4f} at a fixed length" if fixed else "")
        + f"; codebook perplexity {told['perplexity']:.3g}"
    )
    if told["elbo_bits_per_pixel"] is not None:
        yield (
            f"Evidence bound: {told['elbo_bits_per_pixel']:.4f} bits a pixel, of which the latents "
            f"{told['elbo_latent_bits_per_pixel']:.4f}; likelihood {told['likelihood']}"
        )
    if noise["kept"] is not None:
        yield (
            f"Noise of the background: the output has {noise['kept']:.3f} of the input's; variance that is left out "
            f"{noise['score']:.3f} of it"
        )
    if bright["peak_error"] is not None:
        yield f"Peaks of {bright['sources']} sources above 7 sigma: median error {100 * bright['peak_error']:.2f} %"
    for name, points in metrics["tradeoff"].items():
        for point in points:
            yield (
                f"{name}, {point['asked']}: {point['bits']:.3f} bits a pixel, PSNR {number(point['psnr'])} dB, peaks "
                f"{number(point['peak_error'])}, stack {number(point['stack'])} +- {number(point['stack_error'])}"
            )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }


def _log_slopes(prepare: Prepare, batch: Batch) -> torch.Tensor:
    """Return -ln of the slope of the stretch at each pixel of what is made, ``(B, C, H, W)``, float64."""
    stretch, name = (prepare.image, "image") if prepare.target is None else (prepare.target, "target")
    stretched, statistics = batch[name].double(), batch[f"{name}_statistics"].double()
    with torch.inference_mode(False), torch.enable_grad():
        values = stretched.clone().requires_grad_()
        physical = stretch.invert(values, statistics.clone())
        (slope,) = torch.autograd.grad(physical.sum(), values)
    return -slope.log()
