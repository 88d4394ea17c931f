"""What a log tells of a training: its phases, each quantity in figures, and what should worry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rvtool.report.curves import LEARNING_RATE, Curve, distinct
from rvtool.report.training_log import Log

TAKES_PART = "critic-takes-part"  # 0 before the critic joins, 1 after, and the part of its steps in the row between
TOTALS = ("loss", "total_loss", "total-loss", "total")
NEARLY_ALL = 0.9
COLLAPSED = 1e-3  # divergence from the prior, in whatever unit: no latent carries anything
FEWEST_ACTIVE = 0.05  # part of the latents
WON, WON_ROWS = 0.98, 3
FALLING = re.compile(
    r"(^|[\W_])(loss|l1|l2|mse|mae|rmse|rms|kl|nll|bce|ce|entropy|hinge|gan|lsgan|huber|err|error|bits|perceptual|lpips"
    r"|commitment|penalty|divergence)($|[\W_\d])"
)
# less of it is not better in itself: it is played against another
CONTESTED = re.compile(r"critic|disc|adv|gan|hinge|penalty|commitment|(^|[\W_])(kl|kld|divergence|g|d)($|[\W_])")
RISING = re.compile(r"(^|[\W_])(acc|accuracy|psnr|ssim|f1|auc|auroc|precision|recall|score|r2|iou|dice)($|[\W_\d])")
DIVERGENCE = re.compile(r"(^|[\W_])(kl|kld|divergence)($|[\W_])")
CRITIC = re.compile(r"(^|[\W_])(critic|disc|discriminator|d)[\W_](acc|accuracy)($|[\W_])")


class Boundary(NamedTuple):
    """Where a phase begins, steps, and with what."""

    step: float
    begins: tuple[str, ...]

    @property
    def told(self) -> str:
        """What begins, for people."""
        if f"{TAKES_PART} = 1" in self.begins:
            return "critic takes part"
        return self.begins[0] if " = " in self.begins[0] else f"{self.begins[0]} begins"


class Phase(NamedTuple):
    """Steps after `first` (the very first step too) up to `last`, and the seconds that they took where known."""

    name: str
    first: float
    last: float
    seconds: float | None

    def of(self, curve: Curve) -> np.ndarray:
        """Return which values (n,) of a curve belong to the phase."""
        return ((curve.step > self.first) | (self.name == "phase 1")) & (curve.step <= self.last)


class Course(NamedTuple):
    """A log and its phases, which begin at its boundaries."""

    log: Log
    boundaries: list[Boundary]
    phases: list[Phase]


def course(log: Log) -> Course:
    """Find the phases of a log."""
    found = boundaries(log)
    return Course(log, found, phases(log, found))


def boundaries(log: Log) -> list[Boundary]:
    """Find where a training changed: where a quantity that only later rows have begins, or a switch is thrown.

    A switch is `TAKES_PART`, or whatever is either 0 or 1 and changes once. What is logged now and then only, as
    validation is, begins nothing.
    """
    trained = {name: curve for name, curve in log.curves.items() if name.startswith("train/")}
    if not trained:
        return []
    rows = max((curve.step for curve in trained.values()), key=len)
    found: dict[float, tuple[list[str], list[float]]] = {}
    for name, curve in trained.items():
        short = name.removeprefix("train/")
        if (changed := _thrown(name, curve, log.epoch)) is not None:
            after, at = changed
            short += f" = {curve.value[-1]:g}"
        else:
            place = int(np.searchsorted(rows, curve.step[0]))
            if not place or len(curve.step) < max(2, NEARLY_ALL * (len(rows) - place)):
                continue
            after, at = float(curve.step[0]), float(rows[place - 1])
        names, steps = found.setdefault(after, ([], []))
        names.append(short)
        steps.append(at)
    # a switch knows the step itself where a row knows only that it lies between two
    return [Boundary(max(steps), tuple(names)) for _, (names, steps) in sorted(found.items())]


def _thrown(name: str, curve: Curve, epoch: Curve | None) -> tuple[float, float] | None:
    """Return the step of the first row after a switch was thrown, and the step after which it was."""
    step, value = curve
    if name == f"train/{TAKES_PART}":
        place = int(np.argmax(value > 0))
        if not place or not value[place] > 0:
            return None
        begin = step[place - 1]
        if epoch is not None:  # a row tells the mean over its epoch so far
            now = epoch.value[np.searchsorted(epoch.step, step[place])]
            begin = max(epoch.step[epoch.value < now], default=0.0)
        return float(step[place]), float(step[place] - value[place] * (step[place] - begin))
    change = np.flatnonzero(np.diff(value))
    if len(change) != 1 or not np.isin(value, (0, 1)).all() or not 1 <= change[0] < len(value) - 2:
        return None
    return float(step[change[0] + 1]), float(step[change[0]])


def phases(log: Log, found: list[Boundary]) -> list[Phase]:
    """Return the phases between boundaries."""
    edges = [log.begin, *(boundary.step for boundary in found), log.last]
    made = []
    for number, (first, last) in enumerate(pairwise(edges), 1):
        seconds = None
        if log.elapsed is not None:
            begin, end = np.interp((first, last), log.elapsed.step, log.elapsed.value)
            seconds = float(end - begin)
        made.append(Phase(f"phase {number}", first, last, seconds))
    return made


def losses(log: Log) -> list[str]:
    """Return what a training lowers, without its side, the total first; everything where nothing looks like a loss."""
    names = shown(log)
    trained = [name for name in names if f"train/{name}" in log.curves] or names
    return [name for name in trained if FALLING.search(name)] or trained


def shown(log: Log) -> list[str]:
    """Return the quantities that change, without their sides, the total loss first.

    What repeats another is left out, as are switches.
    """
    still = constants(log)
    names = [name for name in distinct(log.curves, _names(log)) if name not in still and not _is_switch(log, name)]
    return sorted(names, key=lambda name: name not in TOTALS)


def _is_switch(log: Log, name: str) -> bool:
    curve = log.curves.get(f"train/{name}")
    return name == TAKES_PART or (curve is not None and _thrown(f"train/{name}", curve, None) is not None)


def constants(log: Log) -> dict[str, float]:
    """Return the quantities that never changed, in training and validation, and their value."""
    found = {}
    for name in _names(log):
        curves = [log.curves[f"{side}/{name}"] for side in ("train", "val") if f"{side}/{name}" in log.curves]
        first = float(curves[0].value[0])
        if np.isfinite(first) and all(len(c.value) > 1 and np.all(c.value == c.value[0]) for c in curves):
            found[name] = first
    return found


def rates(log: Log) -> dict[str, Curve]:
    """Return the learning rates."""
    return {name: curve for name, curve in log.curves.items() if LEARNING_RATE.fullmatch(name)}


def _names(log: Log) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[2] for name in log.curves if not LEARNING_RATE.fullmatch(name)))


def statistics(curve: Curve, name: str, parts: list[Phase]) -> dict[str, Any]:
    """Return a quantity in figures: ends, extremes, mean, spread, and how fast it changes at the end.

    Of values that are numbers; None where there are none. ``slope_of_last_tenth``, a step, is that of a straight line
    through the last tenth of the values, three at least. ``best`` is told where it is known which way is better.
    """
    known = np.isfinite(curve.value)
    step, value = curve.step[known], curve.value[known]
    told: dict[str, Any] = {"values": len(curve.value), "not_finite": int((~known).sum())}
    if not len(value):
        return told
    low, high = int(value.argmin()), int(value.argmax())
    better = None if CONTESTED.search(name) else low if FALLING.search(name) else high if RISING.search(name) else None
    tenth = max(3, len(value) // 10)
    x = step[-tenth:] - step[-tenth:].mean()
    slope = float(x @ value[-tenth:] / (x @ x)) if len(value) >= 3 and x.any() else None
    told |= {"first": value[0], "last": value[-1], "mean": value.mean(), "std": value.std()}
    told |= {"least": value[low], "least_step": step[low], "most": value[high], "most_step": step[high]}
    told = {key: one.item() if isinstance(one, np.generic) else one for key, one in told.items()}
    if better is not None:
        told |= {"best": float(value[better]), "best_step": float(step[better])}
    told["slope_of_last_tenth"] = slope
    if len(parts) > 1:
        inside = Curve(step, value)
        told["phases"] = {
            phase.name: {"values": len(v), "first": float(v[0]), "last": float(v[-1]), "mean": float(v.mean()),
                         "std": float(v.std())}
            for phase in parts if len(v := value[phase.of(inside)])
        }  # fmt: skip
    return told


def worries(log: Log) -> list[str]:
    """Return what should worry in a log, in sentences."""
    return [line for look in (_not_numbers, _collapse, _critic_won, _no_rate) for line in look(log)]


def _not_numbers(log: Log) -> Iterator[str]:
    for name, curve in log.curves.items():
        bad = ~np.isfinite(curve.value)
        if bad.any() and FALLING.search(name):
            yield (
                f"{name} is no number in {int(bad.sum())} of {len(bad)} rows, first at {log.unit} "
                f"{curve.step[bad][0]:g}; lower the learning rate, clip gradients, or use 32-bit floats."
            )


def _collapse(log: Log) -> Iterator[str]:
    for name, curve in log.curves.items():
        last = curve.value[-WON_ROWS:]
        said = f"{name} ends at {last[-1]:.3g}: "
        if DIVERGENCE.search(name) and np.all(np.abs(last) < COLLAPSED):
            yield (
                said
                + "the posterior collapsed onto the prior and the latents carry nothing; weigh the divergence less."
            )
        elif name.endswith("/active-latents") and np.all(last < FEWEST_ACTIVE):
            yield said + "hardly any latent is used (posterior collapse); weigh the divergence less."


def _critic_won(log: Log) -> Iterator[str]:
    for name, curve in log.curves.items():
        last = curve.value[-WON_ROWS:]
        if CRITIC.search(name) and len(last) == WON_ROWS and np.all(last > WON):
            yield (
                f"{name} ends at {last[-1]:.3f}: the critic has won, and the generator learns little from it; give the "
                "critic a lower learning rate, fewer channels or a gradient penalty."
            )


def _no_rate(log: Log) -> Iterator[str]:
    for name, curve in rates(log).items():
        # a warm-up may begin at 0, and a schedule end there
        zero = curve.value[1:-1] == 0
        if zero.any():
            within = "in every row" if np.all(curve.value == 0) else f"in {int(zero.sum())} of {len(curve.value)} rows"
            yield f"{name} is 0 {within}: nothing is learnt there, unless the log rounds it."


def analyse(gone: Course) -> dict[str, Any]:
    """Return all of it as plain values (see `statistics`)."""
    log, found, parts = gone
    seconds = None if log.elapsed is None else float(log.elapsed.value[-1])
    return {
        "unit": log.unit,
        "first_step": log.begin,
        "last_step": log.last,
        "total_steps": log.total,
        "rows": max(len(curve.step) for curve in log.curves.values()),
        "seconds": seconds,
        "boundaries": [{"step": one.step, "begins": list(one.begins)} for one in found],
        "phases": [phase._asdict() for phase in parts],
        "quantities": {name: statistics(curve, name, parts) for name, curve in log.curves.items()},
        "constant": constants(log),
        "warnings": worries(log),
    }
