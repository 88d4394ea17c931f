"""Copy what of a run is worth keeping and giving away: weights, settings, judgement; no checkpoints, no local paths.

    python examples/keep_run.py runs/NAME kept/NAME [--data WHAT_THE_DATA_IS]

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
JUDGED = ("metrics.json", "predictions.csv")


def keep(run: Path, out: Path, data: str) -> None:
    """Copy a run."""
    out.mkdir(parents=True)
    for name in FILES:
        shutil.copy(run / name, out / name)
    for name in JUDGED:
        if (run / "evaluation" / name).exists():
            shutil.copy(run / "evaluation" / name, out / name)
    record = json.loads((run / "run.json").read_text())
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
    arguments = parser.parse_args()
    keep(arguments.run, arguments.out, arguments.data)
