"""Evaluating with two small trained runs, through the verb."""

from __future__ import annotations

import json
import shutil
from io import StringIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from rich.console import Console

from rvtool.errors import ConfigError, DataError
from rvtool.report.scores import METRICS
from rvtool.runs.calibration import together
from rvtool.runs.run import load_run
from rvtool.verbs import evaluate

SIZE, COUNT = 16, 90  # of the fixture `world`


@pytest.fixture
def drawn():
    """Ask for figures, which most tests do without."""


@pytest.fixture(autouse=True)
def cheap(monkeypatch, request):
    monkeypatch.setattr("rvtool.report.cost.ENOUGH_S", 0.0)
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("rvtool.verbs.evaluate.write._draw", lambda *_: {"first": [], "then": []})
        monkeypatch.setattr("rvtool.report.html.figure", lambda *_: "")
        monkeypatch.setattr("rvtool.report.figures.summary", lambda *_: None)


def judge(*runs, **changes):
    told = StringIO()
    settings = evaluate.Settings(runs=[str(run) for run in runs], **{"bootstrap": 100, "device": "cpu", **changes})
    return evaluate.run(settings, Console(file=told, width=160)), told.getvalue()


def test_one_run_leaves_numbers_answers_figures_and_a_report(world, tmp_path, drawn, table):
    result, told = judge(world / "runs" / "first", out=tmp_path / "out")
    out = tmp_path / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert {**metrics, "out": str(out)} == result
    run = load_run(world / "runs" / "first")
    held_out = {name for name, split in run.known.by_id.items() if split == "test"}
    answers = table(out / "predictions.csv")
    assert {row["id"] for row in answers} == held_out
    assert list(answers[0]) == ["id", "label", "one", "two", "entropy", "set", "distance"]
    assert metrics["images"] == len(held_out)
    right = [row["label"] == ("one" if float(row["one"]) > float(row["two"]) else "two") for row in answers]
    assert metrics["accuracy"]["value"] == pytest.approx(np.mean(right))
    for name in METRICS:
        assert set(metrics[name]) == {"value", "low", "high", "baseline"}
    cost = metrics["cost"]
    assert cost["parameters"] == sum(p.numel() for p in run.model.parameters())
    assert cost["parameters_per_training_image"] == pytest.approx(
        cost["parameters"] / list(run.known.by_id.values()).count("train")
    )
    for name in (
        "predictions",
        "confusion_matrix",
        "per_class_metrics",
        "reliability",
        "training_curves",
        "summary",
    ):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 8
    assert "the test part" in page
    assert "Accuracy ↑" in told
    assert told.strip().splitlines()[-1] == str(out)


def test_answers_do_not_depend_on_the_batch_or_the_time(world, tmp_path, table):
    judge(world / "runs" / "first", out=tmp_path / "a")
    judge(world / "runs" / "first", out=tmp_path / "b", batch_size=3)
    first, second = (
        np.array([float(row["one"]) for row in table(tmp_path / x / "predictions.csv")]) for x in ("a", "b")
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_two_runs_are_compared_by_image(world, tmp_path):
    result, told = judge(world / "runs" / "first", world / "runs" / "second", out=tmp_path)
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    assert result["comparison"] == comparison
    assert set(result["runs"]) == {"first", "second"}
    (pair,) = comparison["pairs"]
    assert (pair["first"], pair["second"]) == ("first", "second")
    for name in METRICS:
        values = [result["runs"][run][name]["value"] for run in ("first", "second")]
        assert pair["metrics"][name]["difference"] == pytest.approx(values[1] - values[0])
        assert comparison["over_runs"][name]["mean"] == pytest.approx(np.mean(values))
        assert comparison["over_runs"][name]["standard_deviation"] == pytest.approx(np.std(values, ddof=1))
    assert "McNemar" in told
    assert (tmp_path / "first" / "metrics.json").exists()
    assert "second against first" in (tmp_path / "comparison.html").read_text()


def test_runs_of_different_folds_are_judged_together_too(world, tmp_path, drawn):
    other = tmp_path / "other"
    shutil.copytree(world / "runs" / "second", other)
    known = pq.read_table(other / "splits.parquet")
    old = known["split"].to_pylist()
    first = [name for name, split in enumerate(old) if split == "train"][:20]
    new = ["test" if row in first else "" if split == "test" else split for row, split in enumerate(old)]
    pq.write_table(known.set_column(known.column_names.index("split"), "split", [new]), other / "splits.parquet")
    result, told = judge(world / "runs" / "first", other, out=tmp_path / "both")
    pooled = result["comparison"]["pooled"]
    assert result["comparison"]["pairs"] == result["comparison"]["warnings"] == []
    assert pooled["images"] == 20 + old.count("test")
    assert "2 runs together" in told
    assert "all runs together" in (tmp_path / "both" / "comparison.html").read_text()
    sets = [run["sets"]["covered"] * run["images"] for run in result["runs"].values()]
    assert pooled["sets"]["covered"] == pytest.approx(sum(sets) / pooled["images"])


def test_an_ensemble_is_the_mean_of_the_probabilities(world, tmp_path, table, ask):
    runs = [world / "runs" / name for name in ("first", "second")]
    result, _ = judge(*runs, ensemble=True, out=tmp_path / "both")
    ask(runs[0], runs[1], world / "data", ensemble=True, out=tmp_path / "both.csv")
    plain = []
    for run in runs:  # without what they keep of their validation images: the probabilities as they came
        copy = tmp_path / "plain" / run.name
        shutil.copytree(run, copy)
        (copy / "validation.parquet").unlink()
        ask(copy, world / "data", out=tmp_path / f"{run.name}.csv")
        plain.append({row["file"]: float(row["one"]) for row in table(tmp_path / f"{run.name}.csv")})
    calibration = together([load_run(run).calibration for run in runs])
    said = {}
    for row in table(tmp_path / "both.csv"):
        mean = (plain[0][row["file"]] + plain[1][row["file"]]) / 2
        expected = calibration.apply(np.array([[mean, 1 - mean]]))[0, 0]
        assert float(row["one"]) == pytest.approx(expected, abs=1e-4)
        said[row["file"].removeprefix(f"{world / 'data'}/").removesuffix(".npy")] = row["one"]
    for row in table(tmp_path / "both" / "predictions.csv"):
        assert float(row["one"]) == pytest.approx(float(said[row["id"]]), abs=1e-5)
    assert result["runs"] == ["first", "second"]
    assert result["temperature"] == pytest.approx(calibration.temperature)


def test_latest_is_the_newest_run_and_its_folder_takes_the_result(world):
    result, _ = judge("latest")
    assert result["out"] == str(world / "runs" / "second" / "evaluation")
    shutil.rmtree(result["out"])


@pytest.mark.parametrize(("split", "words"), [("train", "was trained on"), ("val", "chose which weights")])
def test_judging_on_what_was_seen_is_told(world, tmp_path, split, words):
    result, told = judge(world / "runs" / "first", split=split, out=tmp_path / "out")
    assert any(words in warning for warning in result["warnings"])
    assert words in told.replace("\n", " ")
    assert words in (tmp_path / "out" / "report.html").read_text()


def test_all_counts_what_was_trained_on(world, tmp_path):
    result, _ = judge(world / "runs" / "first", split="all", out=tmp_path / "out")
    trained = list(load_run(world / "runs" / "first").known.by_id.values()).count("train")
    assert result["images"] == COUNT
    assert any(f"trained on {trained} of the {COUNT}" in warning for warning in result["warnings"])


def test_images_that_share_sky_are_resampled_together(world, tmp_path):
    result, _ = judge(world / "runs" / "first", split="all", out=tmp_path / "out")
    assert result["groups"] == COUNT - 1


def test_the_same_data_elsewhere_is_known_and_the_test_part_kept(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "moved")
    result, _ = judge(world / "runs" / "first", data=tmp_path / "moved", out=tmp_path / "out")
    assert result["images"] == list(load_run(world / "runs" / "first").known.by_id.values()).count("test")
    assert "the run's own dataset" in result["judged_on"]


def test_other_data_with_the_same_ids_is_judged_whole(world, tmp_path, make_data):
    other = make_data(tmp_path / "other", seed=5, first_ra=0.0)
    result, _ = judge(world / "runs" / "first", data=other, out=tmp_path / "out")
    assert result["images"] == COUNT
    assert "another dataset" in result["judged_on"]
    assert not any("first" in warning for warning in result["warnings"])


def test_seen_images_are_known_under_other_names(world, tmp_path, make_data):
    copy = make_data(tmp_path / "copy", seed=0, first_ra=0.0, prefix="renamed-")
    result, _ = judge(world / "runs" / "first", data=copy, out=tmp_path / "out")
    assert result["images"] == list(load_run(world / "runs" / "first").known.by_id.values()).count("test")
    assert not any("first" in warning for warning in result["warnings"])


def test_images_that_come_and_go_never_let_training_images_in(world, tmp_path, table):
    changed = tmp_path / "changed"
    shutil.copytree(world / "data", changed)
    known = load_run(world / "runs" / "first").known.by_id
    lines = (changed / "labels.csv").read_text().splitlines()
    gone = next(line for line in lines[1:] if known[line.partition(".")[0]] == "train")
    np.save(changed / "new.npy", np.zeros((SIZE, SIZE), np.float32) + np.arange(SIZE, dtype=np.float32))
    lines = [line for line in lines if line != gone] + ["new.npy,one,5.0,50.0"]
    (changed / "labels.csv").write_text("\n".join(lines) + "\n")
    result, _ = judge(world / "runs" / "first", data=changed, out=tmp_path / "out")
    judged = {row["id"] for row in table(tmp_path / "out" / "predictions.csv")}
    assert judged == {name for name, split in known.items() if split == "test"}
    assert not any("first" in warning for warning in result["warnings"])


def test_new_data_with_some_seen_images_is_judged_without_them(world, tmp_path, make_data):
    mixed = make_data(tmp_path / "mixed", seed=9, first_ra=0.0, prefix="new-")
    known = load_run(world / "runs" / "first").known.by_id
    seen = [name for name, split in known.items() if split == "train"][:5]
    lines = (mixed / "labels.csv").read_text()
    for name in seen:
        shutil.copy(world / "data" / f"{name}.npy", mixed / f"old-{name}.npy")
        lines += f"old-{name}.npy,one,200.0,50.0\n"
    (mixed / "labels.csv").write_text(lines)
    result, _ = judge(world / "runs" / "first", data=mixed, out=tmp_path / "out")
    assert result["images"] == COUNT
    result, _ = judge(world / "runs" / "first", data=mixed, split="all", out=tmp_path / "all")
    assert any("trained on 5 of the" in warning for warning in result["warnings"])


def test_other_pixels_units_and_channels_are_told(world, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(world / "runs" / "first", run)
    record = json.loads((run / "run.json").read_text())
    record["data_info"]["image"] |= {"unit": "Jy/beam", "pixel_arcsec": 1.8}
    (run / "run.json").write_text(json.dumps(record))
    stretch = (run / "stretch.json").read_text()
    (run / "stretch.json").write_text(stretch.replace('"scale": "image"', '"scale": "train"'))
    sky = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CDELT1": -0.001, "CDELT2": 0.001, "BUNIT": "K"}
    for number in range(4):
        place = tmp_path / "other" / ("one", "two")[number % 2] / f"{number}.fits"
        place.parent.mkdir(parents=True, exist_ok=True)
        fits.writeto(place, np.load(world / "data" / f"{number + 1:03d}.npy"), fits.Header(sky))
    result, _ = judge(run, data=tmp_path / "other", out=tmp_path / "out", split="all")
    assert "The images have another unit than run was trained on: 'K', not 'Jy/beam'." in result["warnings"]
    scales = "3.6 arcsec, not 1.8 arcsec"
    assert f"The images have another pixel scale than run was trained on: {scales}." in result["warnings"]
    small = tmp_path / "small"
    small.mkdir()
    np.save(small / "a.npy", np.zeros((3, SIZE, SIZE), np.float32) + np.arange(SIZE, dtype=np.float32))
    (small / "labels.csv").write_text("file,label\na.npy,one\n")
    with pytest.raises(DataError, match="3 channels of 12x12 px, and first was trained on 1 of 12x12"):
        judge(world / "runs" / "first", data=small)


def test_seen_sky_is_found_in_other_pixels(world, tmp_path, make_data):
    again = make_data(tmp_path / "again", seed=6, count=40, prefix="again-")
    result, _ = judge(world / "runs" / "first", data=again, out=tmp_path / "out")
    assert any("share sky" in warning for warning in result["warnings"])


def test_data_that_is_gone_is_told(world, tmp_path, make_data):
    run = tmp_path / "run"
    shutil.copytree(world / "runs" / "first", run)
    record = json.loads((run / "run.json").read_text())
    record["dataset"]["path"] = "/nowhere/data"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="name its place with --data"):
        judge(run)
    other = make_data(tmp_path / "other", seed=5)
    result, _ = judge(run, data=other)
    assert any("share sky" in warning for warning in result["warnings"])


def test_unreadable_and_unknown_images_are_left_out_and_told(world, tmp_path, make_data):
    other = make_data(tmp_path / "other", seed=5, count=40, first_ra=0.0)
    (other / "003.npy").write_bytes(b"no array")
    text = (other / "labels.csv").read_text()
    (other / "labels.csv").write_text(text.replace("005.npy,one", "005.npy,three"))
    result, _ = judge(world / "runs" / "first", data=other, out=tmp_path / "out")
    assert result["images"] == 38
    assert any(w.startswith("1 images cannot be read") and "003.npy" in w for w in result["warnings"])
    assert any("1 images are of no class" in warning for warning in result["warnings"])


def test_what_cannot_be_judged_is_refused(world, tmp_path, make_data):
    first = world / "runs" / "first"
    with pytest.raises(ConfigError, match="named twice"):
        judge(first, world / "runs" / ".." / "runs" / "first")
    with pytest.raises(ConfigError, match="two runs or more"):
        judge(first, ensemble=True)
    with pytest.raises(ConfigError, match="'cuda:99' cannot be used"):
        judge(first, device="cuda:99")
    bare = make_data(tmp_path / "bare", seed=5, count=10)
    (bare / "labels.csv").unlink()
    with pytest.raises(DataError, match="no column 'label'"):
        judge(first, data=bare)


def test_predict_gives_what_evaluate_judged(world, tmp_path, table, ask):
    judge(world / "runs" / "first", out=tmp_path / "out", split="all")
    judged = {row["id"]: float(row["one"]) for row in table(tmp_path / "out" / "predictions.csv")}
    result, _ = ask(world / "runs" / "first", world / "data", out=tmp_path / "p.csv", batch_size=7)
    rows = table(tmp_path / "p.csv")
    assert result == {"out": str(tmp_path / "p.csv"), "images": COUNT, "classes": ["one", "two"], "failures": []}
    assert list(rows[0]) == ["file", "one", "two", "entropy", "set", "distance"]
    for row in rows:
        name = row["file"].removeprefix(f"{world / 'data'}/").removesuffix(".npy")
        assert float(row["one"]) == pytest.approx(judged[name], abs=1e-5)
        assert float(row["one"]) + float(row["two"]) == pytest.approx(1, abs=1e-4)
