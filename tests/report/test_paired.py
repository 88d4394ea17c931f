"""Differences between trainings are taken fold by fold, and their intervals are Student's."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import ttest_rel

from rvtool.report.paired import Pairing, comparable, differences_figure, differences_table, write_differences
from rvtool.report.sweep import Result


def result(start, count, fold, seed, score):
    settings = {"real.from": start, "real.limit": count, "fold": fold, "train.seed": seed}
    return Result("", settings, {"judged.f1": score} if score is not None else {})


GAIN = {10: [0.3, 0.1, 0.2], 100: [0.0, 0.1, -0.1]}
RESULTS = [
    result(start, count, fold, seed, 0.5 + 0.1 * fold + (0.02 * seed) + (gain[fold] if start else 0))
    for start in ("", "{out}/sky")
    for count, gain in GAIN.items()
    for fold in range(3)
    for seed in (0, 1)
]


def test_folds_are_paired_and_seeds_averaged():
    pairing = Pairing(RESULTS)
    assert pairing.ways == ["without", "from sky"]
    few, all_ = pairing.differences(["judged.f1"])
    assert (few.place, few.units, all_.place) == ({"real.limit": 10}, 3, {"real.limit": 100})
    assert few.mean == pytest.approx(0.2)
    assert all_.mean == pytest.approx(0)
    expected = ttest_rel([0.8, 0.7, 0.9], [0.5, 0.6, 0.7]).confidence_interval(0.95)
    assert (few.low, few.high) == pytest.approx((expected.low, expected.high))


def test_seeds_are_the_pairs_where_no_fold_is_swept():
    results = [
        Result("", {"model": model, "seed": seed}, {"f1": score})
        for model, scores in (("a", [0.5, 0.6]), ("b", [0.6, 0.8]))
        for seed, score in enumerate(scores)
    ]
    (one,) = Pairing(results).differences(["f1"])
    assert (one.way, one.units, one.mean) == ("model b", 2, pytest.approx(0.15))
    assert Pairing(results).ways[0] == "model a"


def test_numbers_that_belong_to_a_way_tell_it_apart():
    results = [
        Result("", {"data": data, "crop": crop, "seed": seed}, {"f1": score + 0.1 * seed})
        for data, crop, score in (("low", 37, 0.5), ("high", 148, 0.7))
        for seed in (0, 1)
    ]
    (one,) = Pairing(results).differences(["f1"])
    assert (one.way, one.place, one.mean) == ("data high, crop 148", {}, pytest.approx(0.2))
    only_numbers = [Result("", {"crop": crop, "seed": seed}, {"f1": 0.5}) for crop in (1, 2) for seed in (0, 1)]
    assert not comparable(only_numbers)


def test_what_failed_or_stands_alone_is_no_pair():
    lost = [RESULTS[0], result("{out}/sky", 10, 0, 0, None), result("{out}/sky", 10, 1, 0, 0.9)]
    assert not comparable(lost)
    assert not comparable([one for one in RESULTS if not one.settings["real.from"]])
    (one,) = Pairing([RESULTS[0], result("{out}/sky", 10, 0, 0, 0.75)]).differences(["judged.f1"])
    assert (one.mean, one.low, one.high, one.units) == (0.25, None, None, 1)


@given(st.permutations(range(len(RESULTS))))
def test_the_order_of_results_changes_names_only(order):
    pairing = Pairing([RESULTS[number] for number in order])
    sign = 1 if pairing.ways[0] == "without" else -1
    found = {one.place["real.limit"]: sign * one.mean for one in pairing.differences(["judged.f1"])}
    assert found == pytest.approx({10: 0.2, 100: 0}, abs=1e-12)


def test_the_table_and_the_picture_show_them(tmp_path):
    write_differences(tmp_path / "d.csv", RESULTS)
    with open(tmp_path / "d.csv", newline="") as stream:
        few, _ = csv.DictReader(stream)
    assert (few["real.limit"], few["way"], few["against"], few["pairs"]) == ("10", "from sky", "without", "3")
    assert float(few["difference"]) == pytest.approx(0.2)
    console = Console(width=120)
    with console.capture() as told:
        console.print(differences_table(RESULTS, ["judged.f1"]))
    assert "+0.200" in told.get()
    left, right = differences_figure(RESULTS, ["judged.f1"], tmp_path / "d.png").axes
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["10", "100"]
    points = [line for line in right.lines if line.get_marker() == "o"]
    np.testing.assert_allclose([line.get_ydata()[0] for line in points], [0.2, 0], atol=1e-12)
    assert (tmp_path / "d.png").stat().st_size > 5000
