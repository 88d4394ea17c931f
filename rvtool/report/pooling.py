"""Runs that were each judged on a part of the same data, as in cross-validation, judged on all of it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from rvtool.report.classification import Answers, judge

AVERAGED = ("balanced_accuracy", "difference", "changed")


def disjoint(parts: Sequence[Answers]) -> bool:
    """Tell whether several classifiers of the same classes were judged on different images throughout."""
    names = [name for one in parts for name in one.ids]
    return len(parts) > 1 and len(set(names)) == len(names) and len({one.classes for one in parts}) == 1


def pool_answers(parts: Sequence[Answers]) -> Answers:
    """Put the answers of classifiers that were judged on different images of one dataset together."""
    groups = [one.groups for one in parts if one.groups is not None]
    return Answers(
        [name for one in parts for name in one.ids],
        np.concatenate([one.labels for one in parts]),
        np.concatenate([one.probabilities for one in parts]),
        parts[0].classes,
        np.concatenate(groups) if len(groups) == len(parts) else None,
    )


def judge_pooled(
    parts: Sequence[Answers],
    training_counts: Sequence[Sequence[int]],
    judged: Sequence[Mapping[str, Any]],
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Judge all answers as one classifier's (see `rvtool.report.classification.judge`).

    Parameters
    ----------
    training_counts
        Images of each class that each run was trained on.
    judged
        What was found of each run, with ``sets`` and ``robustness`` where it has any.
    """
    counts = np.sum([np.asarray(one, float) for one in training_counts], axis=0)
    metrics = judge(pool_answers(parts), counts.tolist(), bootstrap, seed)
    sets = [one["sets"] for one in judged]
    metrics["sets"] = None if None in sets else _pool_sets(sets, [len(one.ids) for one in parts])
    if all("robustness" in one for one in judged):
        metrics["robustness"] = _pool_robustness([one["robustness"] for one in judged])
    return metrics


def _pool_robustness(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average what disturbances cost each run; the runs' images differ, so their errors are independent."""
    count = len(reports)
    kinds = []
    tables = [{row["kind"]: row for row in report["kinds"]} for report in reports]
    for kind in tables[0]:
        if any(kind not in table for table in tables):
            continue  # what was not tried on all of them is no figure of all
        rows = [table[kind] for table in tables]
        means = {name: float(np.mean([row[name] for row in rows])) for name in AVERAGED}
        halves = [(row["high"] - row["low"]) / 2 for row in rows if row["low"] is not None]
        half = float(np.sqrt(np.sum(np.square(halves)))) / count if len(halves) == count else None
        ends = (None, None) if half is None else (means["difference"] - half, means["difference"] + half)
        kinds.append({**rows[0], **means, "low": ends[0], "high": ends[1]})
    return {"images": sum(report["images"] for report in reports), "kinds": kinds}


def _pool_sets(sets: Sequence[Mapping[str, Any]], images: Sequence[int]) -> dict[str, Any]:
    total = sum(images)
    hits = sum(round(one["covered"] * count) for one, count in zip(sets, images, strict=True))
    interval = binomtest(hits, total).proportion_ci(0.95, "exact")
    means = {
        name: float(np.average([one[name] for one in sets], weights=images)) for name in ("mean_classes", "single")
    }
    return {
        "asked": sets[0]["asked"],
        "covered": hits / total,
        "low": interval.low,
        "high": interval.high,
        **means,
        "validation_images": min(one["validation_images"] for one in sets),
    }
