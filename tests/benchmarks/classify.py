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

from rvtool.report.classification import Answers, judge
from rvtool.report.pooling import pool_answers

FOLDS = range(5)
CLASSES = ("Bent", "Compact", "FRI", "FRII")
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


def pooled(runs: Path, prior: str) -> dict:
    """Judge five single classifiers, each on its fold, and all folds together."""
    folds = [runs / f"fold_{k}" for k in FOLDS]
    out, data = runs / f"judgement-{prior}", runs / "data"
    return rvtool("evaluate", *folds, "--data", data, "--out", out, "--prior", prior)["comparison"]


def ensembles(all_runs: list[Path], prior: str) -> tuple[dict[str, list[float]], dict]:
    """Judge an ensemble of each fold; return each figure of the folds, and what is found of all their answers."""
    each, answers = [], []
    for k in FOLDS:
        members = [runs / f"fold_{k}" for runs in all_runs]
        out = all_runs[0] / f"ensemble-{prior}-{k}"
        words = ("--ensemble", "--data", all_runs[0] / "data", "--out", out, "--prior", prior, "--robustness", 0)
        each.append(rvtool("evaluate", *members, *words))
        answers.append(read_answers(out / "predictions.csv"))
    together = judge(pool_answers(answers), [1] * len(CLASSES))
    covered = np.average([one["sets"]["covered"] for one in each], weights=[one["images"] for one in each])
    together["sets"] = {"covered": float(covered)}
    return {name: [one[name]["value"] for one in each] for name in POOLED_GOALS}, together


def read_answers(table: Path) -> Answers:
    """Read what was answered of one fold."""
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    probabilities = np.array([[float(row[name]) for name in CLASSES] for row in rows])
    labels = np.array([CLASSES.index(row["label"]) for row in rows])
    return Answers([row["id"] for row in rows], labels, probabilities / probabilities.sum(1, keepdims=True), CLASSES)


def fri_against_frii(runs: Path, cutouts: Path) -> dict[str, tuple[int, int]]:
    """Count, of the confident FRI and of the confident FRII, the right answers and the sources."""
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
    found = {}
    for kind in ("FRI", "FRII"):
        told = [np.mean(answers[row["file"]], axis=0) for row in rows if row["label"] == kind]
        found[kind] = (sum(("FRI", "FRII")[int(one.argmax())] == kind for one in told), len(told))
    return found


def seconds_to_predict(run: Path, images: Path) -> float:
    """Return how long 400 images take, start included."""
    files = sorted(images.rglob("*.png"))[:400]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        rvtool("predict", run, *files, "--out", Path(folder) / "p.csv")
        return time.perf_counter() - start


def line(what: str, spread: list[float], value: float, goal: str) -> None:
    """Print a figure."""
    mean = " +- ".join(f"{number:.3f}" for number in spread)
    print(f"{what[:43]:44}{mean:>18}{value:>10.3f}   {goal}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--ensemble", type=Path, action="append", default=[], help="further folders of five runs")
    arguments = parser.parse_args()
    print(f"{'':44}{'mean of folds':>18}{'pooled':>10}   goal")
    for prior in ("model", "data"):
        found = pooled(arguments.runs, prior)
        for name, goal in POOLED_GOALS.items():
            over, value = found["over_runs"][name], found["pooled"][name]["value"]
            line(f"{name}, prior of the {prior}", [over["mean"], over["standard_deviation"]], value, goal)
        sets = found["pooled"]["sets"]
        line(f"90 % sets hold the truth, {sets['mean_classes']:.2f} classes", [], sets["covered"], "0.88 to 0.92")
        for row in found["pooled"]["robustness"]["kinds"] if prior == "model" else ():
            line(row["kind"], [], row["difference"], ">= -0.010")
        if arguments.ensemble:
            each, together = ensembles([arguments.runs, *arguments.ensemble], prior)
            for name, values in each.items():
                spread = [float(np.mean(values)), float(np.std(values, ddof=1))]
                line(f"ensemble: {name}, prior of the {prior}", spread, together[name]["value"], POOLED_GOALS[name])
            line("ensemble: 90 % sets hold the truth", [], together["sets"]["covered"], "0.88 to 0.92")
    counts = fri_against_frii(arguments.runs, arguments.data / "first-fits")
    for kind, (right, count) in counts.items():
        line(f"{kind} of FRI and FRII, float, {count} sources", [], right / count, "")
    right, count = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    line(f"FRI against FRII, float, {count} sources", [], right / count, ">= 0.94")
    seconds = seconds_to_predict(arguments.runs / "fold_0", arguments.data / "first-4class")
    line("predict, 400 images, s", [], seconds, "< 30")


if __name__ == "__main__":
    main()
