"""What a run's folder remembers: how it was made, what it held out, how it ended."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from safetensors.torch import save

import rvtool
from rvtool import plugins
from rvtool.data.batches import Batches, Material
from rvtool.data.extra import is_extra
from rvtool.data.files import write_bytes, write_error
from rvtool.data.info import write_data_info
from rvtool.errors import DataError, unknown
from rvtool.learning import Model, compose
from rvtool.runs.known import write_known
from rvtool.runs.recipe import dump_recipe
from rvtool.runs.run import is_run, new_run_path
from rvtool.verbs.train import Settings

SHARED_PATH = "RVTOOL_RUN_PATH"  # tells the processes that share one training where its run is


def claim(settings: Settings) -> Path:
    """Choose the run's folder and make sure that it is new.

    Raises
    ------
    DataError
        It exists already and holds something.
    """
    if SHARED_PATH in os.environ and os.environ.get("LOCAL_RANK", "0") != "0":
        return Path(os.environ[SHARED_PATH])
    try:
        while settings.out is None:
            path = new_run_path(settings.model)
            with suppress(FileExistsError):  # another training took the name in this very moment: the next is free
                path.mkdir(parents=True)
                return path
        path = settings.out
        if is_run(str(path)) and not path.exists():
            raise DataError(f"'{path}' means a certain run wherever runs are named; choose another --out.")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            how = f"choose another --out, or go on with it: rvtool train --resume {path}"
            raise DataError(f"{path} exists already; {how}")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(settings.out or path, error) from error
    return path


def describe(settings: Settings, kind: type[Model], material: Material, device: str) -> dict[str, Any]:
    """Return the record of a new run: settings resolved, losses, seed, versions, device, data.

    Raises
    ------
    ConfigError
        A loss or a nested setting is wrong.
    """
    for key in settings.set:
        if key not in ("loss", "augmenter"):
            raise unknown("kind of component with nested settings", key, ("loss", "augmenter"))
    losses = compose(
        settings.loss,
        kind.roles,
        settings.set.get("loss", {}),
        material.info,
        partial(plugins.component, "loss"),
        fixed_roles=kind.fixed_roles,
    )
    return {
        "status": "running",
        "verb": "train",
        "started": now(),
        "model": settings.model,
        "task": kind.task,
        "model_version": plugins.version_of("model", settings.model),
        "config": plugins.component("model", settings.model).configure(settings.config).model_dump(mode="json"),
        "losses": losses.specs,
        "settings": settings.model_dump(mode="json"),
        "seed": settings.seed,
        "device": device,
        "versions": {
            "rvtool": rvtool.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "numpy": np.__version__,
        },
        "command": " ".join(sys.argv),
        "dataset": {
            "path": str(material.dataset.root.resolve()),
            "digest": material.dataset.digest,
            "source": material.dataset.info.get("source", {}).get("name", ""),
            "images": {  # the dataset's own, without further ones that only train
                split: int(np.count_nonzero((material.split == split) & ~is_extra(material.dataset)))
                for split in ("train", "val", "test")
            },
        },
        "data_info": write_data_info(material.info),
    }


def write_start(path: Path, record: dict[str, Any], settings: Settings, batches: Batches) -> None:
    """Write all that is known before the first step; the run's record last."""
    material = batches.material
    batches.prepare_batch.image.save(path / "stretch.json")
    if batches.prepare_batch.target is not None:
        batches.prepare_batch.target.save(path / "target_stretch.json")
    write_known(path, material)
    write_bytes(path / "recipe.toml", dump_recipe("train", settings).encode())
    save_record(path, record)


def keep_weights(path: Path) -> None:
    """Keep the best checkpoint's (averaged) weights as ``model.safetensors``."""
    checkpoint = path / "checkpoints" / "best.ckpt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]
        write_bytes(path / "model.safetensors", save({k: v.contiguous().clone() for k, v in state.items()}))


def finish(path: Path, record: dict[str, Any], status: str, best: dict[str, Any] | None) -> None:
    """Note how the run ended."""
    record |= {"status": status, "finished": now(), "best": best}
    save_record(path, record)


def save_record(path: Path, record: dict[str, Any]) -> None:
    """Write ``run.json``."""
    write_bytes(path / "run.json", json.dumps(record, indent=1).encode())


def outcome(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return what the verb tells of a run."""
    best = record.get("best") or {}
    values = {best["metric"]: best["value"], **best.get("shown", {})} if best else {}
    told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    headline = f"{told} in epoch {best['epoch'] + 1}" if best else record["status"]
    return {"run": str(path), "status": record["status"], "best": best, "headline": headline}


def now() -> str:
    """Return the time in UTC, to a millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
