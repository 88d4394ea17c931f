"""Copy what of a run is worth keeping and giving away: weights, settings, judgement; no checkpoints, no local paths.

    python examples/keep_run.py runs/NAME kept/NAME [--data WHAT_THE_DATA_IS] [--judged FOLDER_OF_ITS_EVALUATION]

The copy is a run: `rvtool evaluate kept/NAME --data DATASET` and `rvtool predict kept/NAME image.fits` take it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import tomli
import tomli_w

FILES = ("stretch.json", "splits.parquet", "validation.parquet", "features.safetensors", "model.safetensors")


def keep(run: Path, out: Path, data: str, judged: Path | None) -> None:
    """Copy a run, and its judgement where there is one."""
    out.mkdir(parents=True)
    for name in FILES:
        if (run / name).exists():
            shutil.copy(run / name, out / name)
    record = json.loads((run / "run.json").read_text())
    if judged is not None:
        shutil.copy(judged / "predictions.csv", out / "predictions.csv")
        metrics = json.loads((judged / "metrics.json").read_text())
        what, _, where = metrics["judged_on"].partition(" of ")  # "the test part of FOLDER, the run's own dataset"
        metrics["judged_on"] = f"{what} of {data}, {where.rpartition(', ')[2]}"
        (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    record["dataset"]["path"] = data
    record["settings"] |= {"data": data, "out": None}
    record["command"] = f"rvtool train {record['model']} --recipe recipe.toml"
    (out / "run.json").write_text(json.dumps(record, indent=1) + "\n")
    recipe = tomli.loads((run / "recipe.toml").read_text())
    recipe["stage"][0] |= {"data": data}
    recipe["stage"][0].pop("out", None)
    (out / "recipe.toml").write_text(tomli_w.dumps(recipe))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="data", help="what to write in the place of the dataset's path")
    parser.add_argument("--judged", type=Path, help="folder with metrics.json and predictions.csv to keep too")
    arguments = parser.parse_args()
    keep(arguments.run, arguments.out, arguments.data, arguments.judged)
