"""A trained generator as a simulator: images of chance, of the classes and numbers that it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from rvtool.errors import ConfigError, unknown
from rvtool.kinds import Batch, SimulatorInfo
from rvtool.runs.translated import check_restores

if TYPE_CHECKING:
    from rvtool.data.fits import Image
    from rvtool.runs.run import Run


class Generated:
    """Makes images that no other is needed for; what they are of is drawn as it was in the training.

    Parameters
    ----------
    run
        Of a generator, or of an autoencoder that can sample.
    label
        The class that all images are to be of; "" leaves them as they come.
    numbers
        Values of columns that the run was trained to make images for, in their own units.

    Raises
    ------
    ConfigError
        The run knows no such class or column.
    DataError
        Its stretch cannot be undone.
    """

    def __init__(self, run: Run, label: str = "", numbers: Mapping[str, Any] | None = None) -> None:
        self.run, self.model = run, run.model
        made = check_restores(run)
        count = int(getattr(self.model, "classes", 0))
        classes = run.data.classes[:count]
        if label and label not in classes:
            raise unknown("class", label, classes, hint=f"({run.name} makes images of these)")
        self.label = classes.index(label) if label else None
        self.numbers = {name: _number(name, value) for name, value in (numbers or {}).items()}
        for name in self.numbers:
            if name not in run.data.conditions:
                raise unknown("number", name, run.data.conditions, hint=f"({run.name} makes images for these)")
        self.info = SimulatorInfo(made, classes=classes)

    def asked(self, indices: torch.Tensor, seed: int) -> Batch:
        """Return what images of these indices are of."""
        found: Batch = self.model.asked(indices, seed) if hasattr(self.model, "asked") else {}
        if self.label is not None:
            found["label"] = torch.full_like(found["label"], self.label)
        for place, name in enumerate(self.run.data.conditions):
            if name in self.numbers:
                found["condition"][:, place] = self.numbers[name]
        return found

    def simulate(self, indices: torch.Tensor, seed: int, device: torch.device) -> Batch:
        """Make images in their physical unit, with what they are of."""
        run, model = self.run, self.model.to(device)
        asked = self.asked(indices, seed)
        stretch = run.stretch if run.target_stretch is None else run.target_stretch
        with torch.inference_mode():
            made = model.sample(indices, seed, device, asked)
            # no image tells its background, noise and peak: those of the training's, as far as it is scaled by them
            statistics = made.new_tensor([0.0, stretch.constant, stretch.constant]).expand(len(made), -1)
            image = stretch.invert(made, statistics)
            if stretch.settings.scale == "image":  # all images of such a training have one peak
                peaks = image.amax(dim=(1, 2, 3), keepdim=True)
                image = torch.where(peaks > 0, image * (stretch.constant / peaks), image)
            found = {"image": image}
        if self.info.classes:
            found["label"] = asked["label"]
        return found | {name: asked["condition"][:, place] for place, name in enumerate(run.data.conditions)}


def draw_condition(run: Run, image: Image, condition: Mapping[str, str]) -> Image:
    """Return the image that a run is asked with: what the simulator of its pairs draws of one and of some words.

    Raises
    ------
    ConfigError
        Nobody can draw it.
    """
    from rvtool.plugins import components

    source = str(run.record["dataset"].get("source", ""))
    maker = components("simulator").get(source) or components("source").get(source)
    draw = getattr(maker.load(), "asked", None) if maker else None
    if draw is None:
        raise ConfigError(
            f"{run.name} learnt from '{source or 'a folder'}', where nothing is called '{next(iter(condition))}'; give "
            "it images like those of its training, without --set."
        )
    drawn: Image = draw(image, condition)
    return drawn


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"Condition '{name}' is a number, not '{value}'; write --set condition.{name}=1.5.") from None
