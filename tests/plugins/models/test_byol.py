import csv
import math
from io import StringIO

import pytest
import torch
from lightning.pytorch import Trainer
from rich.console import Console
from torch.utils.data import DataLoader

from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import Losses
from rvtool.plugins import component
from rvtool.runs.run import load_run
from rvtool.verbs import train

SMALL = {"encoder": "alhassan-cnn", "encoder_settings": "channels=4,8 hidden=8 batch_norm=true dropout=0", "hidden": 16}


def build(**settings):
    found = component("model", "byol")
    return found.load()(found.configure({**SMALL, **settings}), DataInfo(Side(1, 16, 16)), Losses())


def test_the_loss_is_what_the_paper_says_and_the_target_only_follows():
    torch.manual_seed(0)
    model = build(momentum=0.9)
    one, other = torch.randn(2, 6, 1, 16, 16)
    loss, _ = model._compare({"image": one, "view": other})
    expected = 0.0
    for seen, aim in ((one, other), (other, one)):
        q = torch.nn.functional.normalize(model.predictor(model.projector(model(seen))), dim=1)
        z = torch.nn.functional.normalize(model.target(aim), dim=1)
        expected = expected + (q - z).square().sum(dim=1).mean()  # eq. 2
    torch.testing.assert_close(loss, expected / 2)
    before = {name: value.clone() for name, value in model.target.named_parameters()}
    batches = DataLoader([{"image": one, "view": other}], batch_size=None)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    Trainer(accelerator="cpu", max_steps=1, **quiet).fit(model, batches)
    online = dict(torch.nn.Sequential(model.network, model.projector).named_parameters())
    decay = 1 - 0.1 * (math.cos(math.pi) + 1) / 2  # the only step is the last: nothing moves
    for name, value in model.target.named_parameters():
        assert value.grad is None
        torch.testing.assert_close(value, decay * before[name] + (1 - decay) * online[name])


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """Images with a class that the self-supervised training is not told."""
    import numpy as np

    folder, rng = tmp_path_factory.mktemp("spots"), np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] - 7.5
    with (folder / "labels.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "kind"])
        for number in range(40):
            width = (1.0, 3.0)[number % 2]
            image = np.exp(-(x**2 + y**2) / (2 * width**2)) + rng.normal(0, 0.02, x.shape)
            np.save(folder / f"{number:02d}.npy", image.astype(np.float32))
            rows.writerow([f"{number:02d}.npy", ("small", "large")[number % 2]])
    return folder


def fit(model, data, out, **changes):
    told = StringIO()
    settings = {"model": model, "data": data, "out": out, "gpus": 0, "crop": 16, "epochs": 2, "batch_size": 8}
    train.run(train.Settings(**{**settings, **changes}), Console(file=told, width=200))
    return load_run(out), told.getvalue()


def test_a_classifier_begins_with_what_was_learnt_without_labels(spots, tmp_path):
    byol, _ = fit("byol", spots, tmp_path / "byol", config=SMALL)
    assert byol.record["best"]["metric"] == "val/epochs"
    assert byol.record["best"]["epoch"] == 1
    rows = list(csv.DictReader((byol.path / "metrics.csv").open()))
    assert 0 < float(rows[-1]["val/loss"]) < 4
    assert 0 < float(rows[-1]["val/spread"]) < 1.1
    encoder = {"channels": "4,8", "hidden": 8, "batch_norm": True}
    settings = {"from_": str(byol.path), "label_column": "kind", "config": encoder}
    found, told = fit("alhassan-cnn", spots, tmp_path / "found", **settings, unfreeze_epoch=2)
    assert "begins with 100.0% of the backbone's weights" in told
    assert torch.equal(found.weights["network.body.0.weight"], byol.weights["network.body.0.weight"])


def test_two_views_of_an_image_are_augmented_differently(spots, tmp_path):
    from rvtool.verbs.train.material import make_batches

    settings = train.Settings(model="byol", data=spots, crop=16, batch_size=8)
    kind = component("model", "byol").load()
    batches = make_batches(settings, kind, Console(file=StringIO()))
    seen = []

    class Look(kind):
        def training_step(self, batch, batch_idx):
            seen.append(batch)
            return super().training_step(batch, batch_idx)

    model = Look(component("model", "byol").configure(SMALL), batches.material.info, Losses())
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    Trainer(accelerator="cpu", max_steps=1, limit_val_batches=0, **quiet).fit(model, datamodule=batches)
    assert seen[0]["image"].shape == seen[0]["view"].shape
    assert not torch.allclose(seen[0]["image"], seen[0]["view"])


def test_an_encoder_must_be_a_classifier():
    with pytest.raises(ConfigError, match="'byol' is no classifier"):
        build(encoder="byol", encoder_settings="")
    with pytest.raises(ConfigError, match="colour"):
        build(encoder_settings="colour=3")
