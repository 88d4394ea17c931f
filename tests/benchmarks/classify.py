"""What the five classifiers of the four-class pool reach, beside the goals: `python tests/benchmarks/classify.py`.

    python tests/benchmarks/classify.py --runs first_4class --data ../shared/data [--ensemble first_4class_1 ...]

`--runs` holds fold_0 ... fold_4 and data/, as `examples/first_4class.toml` makes them. Each fold is judged by the run
that held it out, so all figures are out of fold. FRI against FRII is judged on the float cutouts of `first-fits`:
sources that are in the pool by the run that held theirs out, the others by all five together.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FOLDS = range(5)
POOLED_GOALS = {
    "balanced_accuracy": ">= 0.86 (one model), >= 0.875 (ensemble)",
    "brier": "<= 0.20",
    "ece": "<= 0.025",
    "selective_accuracy": ">= 0.97",
}


def rvtool(*words: object) -> dict:
    """Run a command and return what `--json` prints."""
    command = [sys.executable, "-m", "rvtool", *map(str, words), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def pooled(runs: Path) -> dict:
    """Judge five single classifiers, each on its fold, and all folds together."""
    folds = [runs / f"fold_{k}" for k in FOLDS]
    return rvtool("evaluate", *folds, "--data", runs / "data", "--out", runs / "judgement")["comparison"]


def ensembles(all_runs: list[Path]) -> dict:
    """Judge an ensemble of each fold; return the mean of the folds and the deviation between them."""
    each = []
    for k in FOLDS:
        members = [runs / f"fold_{k}" for runs in all_runs]
        out = all_runs[0] / f"ensemble_{k}"
        each.append(rvtool("evaluate", *members, "--ensemble", "--data", all_runs[0] / "data", "--out", out))
    return {name: [one[name]["value"] for one in each] for name in POOLED_GOALS}


def fri_against_frii(runs: Path, cutouts: Path) -> tuple[float, int]:
    """Return the share of right answers among confident FRI and FRII, and how many there are."""
    with open(cutouts / "labels.csv", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["confidence"] == "confident" and r["label"] in ("FRI", "FRII")]
    answers: dict[str, list[np.ndarray]] = {row["file"]: [] for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for k in FOLDS:
            mine = [row for row in rows if row["pool_fold"] in ("", str(k))]
            table = Path(folder) / f"{k}.csv"
            rvtool("predict", runs / f"fold_{k}", *(cutouts / row["file"] for row in mine), "--out", table)
            with open(table, newline="") as stream:
                for answer in csv.DictReader(stream):
                    pair = np.array([float(answer["FRI"]), float(answer["FRII"])])
                    answers[Path(answer["file"]).name].append(pair / pair.sum())
    right = [("FRI", "FRII")[int(np.mean(answers[row["file"]], axis=0).argmax())] == row["label"] for row in rows]
    return float(np.mean(right)), len(right)


def seconds_to_predict(run: Path, images: Path) -> float:
    """Return how long 400 images take, start included."""
    files = sorted(images.rglob("*.png"))[:400]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        rvtool("predict", run, *files, "--out", Path(folder) / "p.csv")
        return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--ensemble", type=Path, action="append", default=[], help="further folders of five runs")
    arguments = parser.parse_args()
    found = pooled(arguments.runs)
    print(f"{'':36}{'mean of folds':>20}{'pooled':>10}   goal")
    for name, goal in POOLED_GOALS.items():
        over, value = found["over_runs"][name], found["pooled"][name]["value"]
        mean = f"{over['mean']:.3f} +- {over['standard_deviation']:.3f}"
        print(f"{name:36}{mean:>20}{value:>10.3f}   {goal}")
    sets = found["pooled"]["sets"]
    print(f"{'90 % sets hold the truth':56}{sets['covered']:>10.3f}   0.88 to 0.92, {sets['mean_classes']:.2f} classes")
    for row in found["pooled"]["robustness"]["kinds"]:
        print(f"{row['kind'][:36]:36}{'':20}{row['difference']:>+10.3f}   >= -0.010")
    if arguments.ensemble:
        for name, values in ensembles([arguments.runs, *arguments.ensemble]).items():
            print(f"{'ensemble: ' + name:36}{np.mean(values):>12.3f} +- {np.std(values, ddof=1):.3f}")
    share, count = fri_against_frii(arguments.runs, arguments.data / "first-fits")
    print(f"{'FRI against FRII, float, ' + str(count) + ' sources':56}{share:>10.3f}   >= 0.94")
    seconds = seconds_to_predict(arguments.runs / "fold_0", arguments.data / "first-4class")
    print(f"{'predict, 400 images, s':56}{seconds:>10.1f}   < 30")


if __name__ == "__main__":
    main()
