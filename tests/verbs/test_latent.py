"""The latent space of a run: the linear probe, the table, the picture; and an autoencoder's features."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from io import StringIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from scipy.special import expit

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.runs.latent import Scale, cosine_distances
from rvtool.runs.run import build_model, load_run
from rvtool.verbs import evaluate
from rvtool.verbs.evaluate.latent import project
from rvtool.verbs.evaluate.probe import learn


def look(world, tmp_path, **changes):
    told = StringIO()
    settings = {"latent": "pca", "out": tmp_path / "out", "bootstrap": 100, "device": "cpu", **changes}
    run = settings.pop("run", world / "runs" / "first")
    found = evaluate.run(evaluate.Settings(runs=[str(run)], **settings), Console(file=told, width=160))
    return found, told.getvalue()


def test_a_run_leaves_a_table_a_picture_and_a_probe(world, tmp_path):
    found, told = look(world, tmp_path, colour_by="ra_deg")
    table = pq.read_table(tmp_path / "out" / "latents.parquet")
    run = load_run(world / "runs" / "first")
    assert dict(zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True)) == run.known.by_id
    features = np.stack(table["features"].to_numpy())
    assert features.shape == (90, found["features"])
    assert {"label", "ra_deg", "x", "y"} <= set(table.column_names)
    assert (tmp_path / "out" / "latents.png").stat().st_size > 0
    probe = found["probe"]
    assert probe["learnt_from"] == found["splits"]["train"]
    assert probe["judged"] == found["splits"]["test"]
    assert probe["chance"] == 0.5
    value, plain = (probe[name]["value"] for name in ("balanced_accuracy", "plain_statistics"))
    assert value > 0.8
    assert probe["difference"]["value"] == pytest.approx(value - plain)
    written = json.loads((tmp_path / "out" / "latent.json").read_text())
    assert written["probe"] == probe
    assert f"balanced accuracy  {value:.3f}" in told


def test_another_dataset_is_probed_by_its_own_parts(world, tmp_path, make_data):
    data = make_data(tmp_path / "other", seed=5, first_ra=200.0, prefix="o")
    found, _ = look(world, tmp_path, data=data)
    assert found["probe"]["learnt_from"] == found["splits"]["train"]
    assert found["probe"]["judged"] == found["splits"]["test"]


def test_what_cannot_be_probed_is_said(world, tmp_path):
    found, told = look(world, tmp_path, split="all")
    assert found["probe"] is None
    assert "No probe" in told


def test_refusals(world, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="No column is named 'redshfit'"):
        look(world, tmp_path, colour_by="redshfit")
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr("rvtool.verbs.evaluate.latent.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'rvtool\[umap\]'.*--latent pca"):
        look(world, tmp_path, latent="umap")


@pytest.mark.skipif(find_spec("umap") is None, reason="the extra 'umap' is not installed")
def test_umap_keeps_what_lies_together():
    groups = np.random.default_rng(0).normal(size=(60, 5)) + 30 * (np.arange(60) % 2)[:, None]
    places, _, shares = project(groups, "umap", 0)
    assert shares is None
    middles = np.stack([places[start::2].mean(axis=0) for start in (0, 1)])
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * places[::2].std()


def test_the_projection_is_that_of_the_covariance():
    features = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 5.0, 2.0]
    places, _, shares = project(features, "pca", 0)
    values = np.sort(np.linalg.eigvalsh(np.cov(features.T)))[::-1]
    np.testing.assert_allclose(places.var(axis=0, ddof=1), values[:2])
    np.testing.assert_allclose(shares, values[:2] / values.sum())


def test_a_probe_finds_the_odds_that_made_the_labels():
    random = np.random.default_rng(0)
    features = random.normal(size=(4000, 2))
    truth = expit(2 * features[:, 0])
    labels = (random.uniform(size=4000) < truth).astype(int)
    probe = learn(features, labels, 2)
    assert probe.strength < 0.1
    np.testing.assert_allclose(probe(features)[:, 1], truth, atol=0.08)


def test_a_rare_class_weighs_as_much_as_a_frequent_one():
    features = np.random.default_rng(0).normal(size=(1000, 1))
    labels = (np.arange(1000) < 50).astype(int)  # nothing tells them apart
    assert learn(features, labels, 2)(features)[:, 1].mean() == pytest.approx(0.5, abs=0.05)


def test_a_feature_that_never_changes_counts_nothing():
    features = np.array([[1.0, 7.0], [3.0, 7.0]])
    np.testing.assert_array_equal(Scale.of(features)(np.array([[4.0, 9.0]])), [[2.0, 0.0]])


def test_cosine_distances_are_those_of_the_angles():
    found = cosine_distances(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(found, [[0, 1, 2], [1, 1, 1]])


# --------------------------------------------------------------------------- an autoencoder's features


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    config = {"width": 4, "latents": 8, "gain": 5.0, "blocks": 0}
    record = {"model": "vqvae", "task": "autoencoding", "config": config, "losses": ["mse:1"], "settings": {}}
    return build_model(record, DataInfo(Side(1, 96, 96), None)).eval()


def blob(*places):
    y, x = np.mgrid[:96, :96] - 47.5
    sky = sum(np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 18) for at_y, at_x in places)
    return torch.tensor(sky, dtype=torch.float32)[None, None]


def waves(model, image):
    """The strengths of waves around the middle, (rings, m)."""
    return model.features({"image": image})[0, model.maps :].view(-1, 5)


def test_waves_around_the_middle_tell_how_lobes_lie(autoencoder):
    ring = 2  # 16 px out
    straight = waves(autoencoder, blob((0, -16), (0, 16)))[ring]
    single = waves(autoencoder, blob((0, 16)))[ring]
    bent = waves(autoencoder, blob((-16, 0), (0, 16)))[ring]
    assert straight[1] < 0.05 * straight[2]
    assert single[1] > 0.8 * single[0]
    assert bent[2] < 0.3 * bent[1]


def test_features_hold_for_turned_images_and_any_size(autoencoder):
    image = blob((0, -16), (4, 20))
    turned = waves(autoencoder, torch.rot90(image, 1, (-2, -1)))
    torch.testing.assert_close(turned, waves(autoencoder, image), atol=1e-4, rtol=1e-4)
    assert torch.isfinite(autoencoder.features({"image": image[..., :50, :37]})).all()
    assert torch.isfinite(autoencoder.features({"image": torch.zeros(2, 1, 8, 8)})).all()
