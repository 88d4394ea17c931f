"""`rvtool train --show-augmentation`: what a training would see, and no training."""

from io import StringIO

import pytest
import torch
from PIL import Image
from rich.console import Console

from rvtool.data.batches import Prepare
from rvtool.errors import ConfigError
from rvtool.plugins import component
from rvtool.verbs.train import Settings, augmented, material, run

QUIET = Console(quiet=True)


def settings(data, **changes):
    given = {"config": {"channels": "4,8", "hidden": 8}, "gpus": 0, "crop": 24, "batch_size": 12, **changes}
    return Settings(model="alhassan-cnn", data=data, **given)


def test_it_shows_what_the_first_step_sees(tmp_path, blobs, monkeypatch):
    seen = []
    original = Prepare.__call__

    def listening(self, raw, augment=False):
        batch = original(self, raw, augment)
        seen.extend([batch["image"]] if augment else [])
        return batch

    given = settings(blobs(), augment=("rotate-flip", "extreme", "mixup"), steps=1, out=tmp_path / "run")
    shown = augmented.versions(material.make_batches(given, component("model", "alhassan-cnn").load(), QUIET))
    monkeypatch.setattr(Prepare, "__call__", listening)
    run(given, QUIET)
    assert torch.equal(shown[1]["image"], seen[0][: augmented.IMAGES])
    assert len({tuple(batch["image"].flatten().tolist()) for batch in shown}) == 1 + augmented.VERSIONS
    assert all(torch.equal(batch["index"], shown[0]["index"]) for batch in shown)


def test_a_picture_is_drawn_and_nothing_else(tmp_path, blobs, monkeypatch):
    data, told = blobs(), StringIO()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out, place in ((None, "here"), (tmp_path / "runs" / "a", "runs")):
        result = run(settings(data, out=out, show_augmentation=True), Console(file=told, width=200))
        assert result["images"] == augmented.IMAGES
        assert [path.name for path in (tmp_path / place).iterdir()] == ["augmentation.png"]
        with Image.open(tmp_path / place / "augmentation.png") as picture:
            assert picture.width > picture.height > 500
    assert "nothing was trained" in told.getvalue()


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        ("none", "nothing to show; name an augmenter"),
        ("time-mask", "'time-mask' is for frequency-time images, and these are sky images"),
    ],
)
def test_what_cannot_be_shown_is_refused(blobs, augment, says):
    with pytest.raises(ConfigError, match=says):
        run(settings(blobs(), augment=(augment,), show_augmentation=True), QUIET)
