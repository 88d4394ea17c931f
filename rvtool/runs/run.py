"""A run: the folder of one training, enough to judge, predict, simulate and compress with, on another machine too."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvtool import plugins
from rvtool.data.files import unused
from rvtool.data.info import read_data_info
from rvtool.errors import DataError
from rvtool.kinds import Batch, DataInfo

if TYPE_CHECKING:
    import torch

    from rvtool.data.batches import Material, Prepare
    from rvtool.data.dataset import Dataset
    from rvtool.data.fits import Image
    from rvtool.data.stretch import FittedStretch
    from rvtool.runs.calibration import Calibration
    from rvtool.runs.familiar import Familiar
    from rvtool.runs.intervals import Intervals
    from rvtool.runs.known import Known


DEFAULT = Path(__file__).parent / "default"
"""The run of the classifier that comes with rvtool, made by ``examples/default_classifier.toml``."""


HASHED = "sha256:"
"""What the name of a run begins with that is named by its hash."""


def runs_folder() -> Path:
    """Return where runs are kept: ``$RVTOOL_RUNS``, else ``runs`` in the current folder."""
    return Path(os.environ.get("RVTOOL_RUNS", "runs"))


def new_run_path(model: str) -> Path:
    """Return the folder of a new run: its time and its model, numbered where two fall in one second."""
    return unused(runs_folder() / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{model}")


@dataclass(frozen=True)
class Run:
    """A trained model with everything that it needs.

    Attributes
    ----------
    path
        The run's folder.
    record
        What ``run.json`` holds: status, model, its settings, seed, versions, device, dataset.
    """

    path: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The folder's name, by which people know the run."""
        return self.path.name

    @property
    def task(self) -> str:
        """What the model has learnt: ``"classification"``, ``"regression"``, ..."""
        return str(self.record.get("task", "classification"))

    @cached_property
    def data(self) -> DataInfo:
        """What the model was told of its data."""
        return read_data_info(self.record["data_info"])

    @cached_property
    def stretch(self) -> FittedStretch:
        """The stretch of the image side, as measured on the training split."""
        from rvtool.data.stretch import FittedStretch

        return FittedStretch.load(self.path / "stretch.json")

    @cached_property
    def target_stretch(self) -> FittedStretch | None:
        """The stretch of the target side, where there is one."""
        from rvtool.data.stretch import FittedStretch

        path = self.path / "target_stretch.json"
        return FittedStretch.load(path) if path.exists() else None

    @cached_property
    def prepare(self) -> Prepare:
        """What turns raw pixels into this model's input, without augmentation."""
        from rvtool.data.batches import Prepare

        return Prepare(self.stretch, self.target_stretch)

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """The trained (averaged) weights by their names in the model.

        Raises
        ------
        DataError
            The run has no weights yet, or their file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.path / "model.safetensors"
        if not path.exists():
            raise DataError(
                f"{self.path} has no trained weights (status: {self.record.get('status')}); "
                f"finish it with 'rvtool train --resume {self.path}'."
            )
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path} is damaged ({error}); train again.") from error

    @cached_property
    def model(self) -> Any:
        """The trained model (an `rvtool.learning.Model`), on the CPU, in eval mode.

        Raises
        ------
        DataError
            The run has no weights yet, or they do not fit the installed model.
        """
        weights = self.weights
        model = build_model(self.record, self.data)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise DataError(
                f"The weights of {self.path} do not fit the installed model '{self.record['model']}'; the run was made "
                f"with {self.record.get('model_version', 'another version')}."
            ) from error
        model.prepare = self.prepare
        return model.eval()

    @cached_property
    def sha256(self) -> str:
        """Hash of all that the answers depend on: the weights, and the stretch of each side."""
        names = ("model.safetensors", "stretch.json", "target_stretch.json")
        found = [self.path / name for name in names if (self.path / name).exists()]
        return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()

    @cached_property
    def known(self) -> Known:
        """What the run remembers of every image that it knew."""
        from rvtool.runs.known import read_known

        return read_known(self.path)

    @cached_property
    def calibration(self) -> Calibration | None:
        """A classifier's answers on its validation images; None where it has kept none."""
        from rvtool.runs.calibration import read_calibration

        return read_calibration(self.path, self.data.classes)

    @cached_property
    def intervals(self) -> Intervals | None:
        """A regressor's answers on its validation images; None where it has kept none."""
        from rvtool.runs.intervals import read_intervals

        return read_intervals(self.path, self.model.likelihood.limits)

    @cached_property
    def familiar(self) -> Familiar | None:
        """Where a classifier's training images lie; None where it has not kept it."""
        from rvtool.runs.familiar import read_familiar

        return read_familiar(self.path)

    def raw(self, image: Image) -> Batch:
        """Bring an image to the size that the model was trained on, as training did: one image of a raw batch.

        A grey picture that was saved in colours is taken for what it shows by a model of one channel.

        Raises
        ------
        DataError
            Its channels or size do not fit, or it has no known pixel.
        """
        import numpy as np
        import torch

        from rvtool.data.stretch import cut, fit_to

        side, stretch = self.data.image, self.stretch.settings
        if side.channels == 1:
            image = image.in_grey()
        have, want = image.data.shape, (side.channels, side.height, side.width)
        if have[0] != want[0]:
            raise DataError(f"{image.path} has {have[0]} channels, and {self.name} was trained on {want[0]}.")
        if not stretch.crop and have != want:
            raise DataError(
                f"{image.path} has {have[2]}x{have[1]} px, and {self.name} was trained on {want[2]}x{want[1]} px."
            )
        height, width = (stretch.crop, stretch.crop) if stretch.crop else want[1:]
        middle = fit_to(image.data, min(height, have[1]), min(width, have[2]))  # a large map is not copied whole
        try:
            pixels, statistics = cut(middle.astype(np.float32), height, width, stretch.resize)
        except DataError as error:
            raise DataError(f"{image.path}, plane {image.plane}, {error}") from None
        return {"image": torch.from_numpy(pixels), "image_statistics": torch.from_numpy(statistics)}

    def material(self, data: Dataset | Path | str | None = None) -> Material:
        """Make a dataset ready for this model.

        Parameters
        ----------
        data
            A dataset or folder; None takes the one that the run was trained on.

        Raises
        ------
        DataError
            The data is not there, or its images do not have the channels and the size that the model was trained on.
        """
        from rvtool.data.batches import prepare
        from rvtool.data.dataset import Dataset, open_dataset

        trained_on = Path(self.record["dataset"]["path"])
        if data is None and not trained_on.exists():
            raise DataError(f"{trained_on}, which {self.path} was trained on, is not here; name its place with --data.")
        dataset = data if isinstance(data, Dataset) else open_dataset(data if data is not None else trained_on)
        column = self.data.label_column
        material = prepare(
            dataset,
            label_column=column if column and column in dataset else None,
            numbers=self.task == "regression",
            classes=self.data.classes,
            conditions=[name for name in self.data.conditions if name in dataset],
            crop=self.stretch.settings.crop,
            resize=self.stretch.settings.resize,
            pairs=self.data.target is not None,
        )
        for have, want in ((material.info.image, self.data.image), (material.info.target, self.data.target)):
            if not (have and want) or (have.channels, have.height, have.width) == (
                want.channels,
                want.height,
                want.width,
            ):
                continue
            if have.channels != want.channels or not self.model.any_size:
                raise DataError(
                    f"{dataset.root} has {have.channels} channels of {have.width}x{have.height} px, and {self.name} "
                    f"was trained on {want.channels} of {want.width}x{want.height} px; use images of that kind."
                )
        return material


def build_model(record: dict[str, Any], data: DataInfo) -> Any:
    """Build a run's model with fresh weights: the component by its name, its settings, its losses."""
    from rvtool.learning import compose, for_task

    component = plugins.component("model", record["model"])
    target = for_task(component.load(), record.get("task", ""))
    settings = record["settings"].get("set", {}).get("loss", {})
    losses = compose(record["losses"], target.roles, settings, data, partial(plugins.component, "loss"))
    return target(component.configure(record["config"]), data, losses)


def load_run(name: str | Path) -> Run:
    """Open a run.

    Parameters
    ----------
    name
        Its folder, ``"latest"`` for the newest in the folder of runs, ``"default"`` for the classifier that comes
        with rvtool, or ``"sha256:HASH"`` for the one in the folder of runs that has this `Run.sha256`.

    Raises
    ------
    DataError
        There is no such run, or its record is damaged.
    """
    if str(name).startswith(HASHED):
        return _hashed(str(name).removeprefix(HASHED))
    named = {"latest": _latest, "default": lambda: DEFAULT}
    path = named[name]() if isinstance(name, str) and name in named else Path(name)
    if not path.is_dir() and (runs_folder() / path).is_dir():
        path = runs_folder() / path
    if not (path / "run.json").exists():
        raise DataError(
            f"{path} is no run (it has no run.json); 'rvtool train' makes runs, '{runs_folder()}' holds them."
        )
    try:
        record = json.loads((path / "run.json").read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path / 'run.json'} is damaged ({error}); train again.") from error
    return Run(path, record)


def is_run(name: str | Path) -> bool:
    """Tell whether a name that could be a component's is a run's folder instead."""
    return name in ("latest", "default") or (Path(name) / "run.json").exists()


def _latest() -> Path:
    folder = runs_folder()
    found = sorted(folder.glob("*/run.json"), key=lambda p: (json.loads(p.read_text()).get("started", ""), p))
    if not found:
        raise DataError(f"There is no run in '{folder}' yet; 'rvtool train MODEL --data DATASET' makes one.")
    return found[-1].parent


def _hashed(sha256: str) -> Run:
    for path in sorted(runs_folder().glob("*/model.safetensors")):
        with suppress(DataError):  # a folder that is no run, or a damaged one, hides no other
            if (run := load_run(path.parent)).sha256 == sha256:
                return run
    raise DataError(
        f"The run {sha256[:12]} is not in '{runs_folder()}'; put its folder there, or set RVTOOL_RUNS to the folder "
        "that it lies in."
    )
