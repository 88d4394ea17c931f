"""Generators from end to end: galaxies in, a run, and out of it a dataset like any other."""

from io import StringIO

import numpy as np
import pytest
import torch
from astropy.io import fits
from rich.console import Console
from safetensors.torch import load_file

from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError
from rvtool.runs.run import load_run
from rvtool.verbs import predict, simulate, train

QUIET = Console(file=StringIO(), width=200)
DCGAN = {"width": 4, "most": 16}
DIFFUSION = {"width": 8, "levels": 2, "sampling_steps": 3}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Simulate galaxies of 32x32 px of four classes."""
    root = tmp_path_factory.mktemp("generate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVTOOL_CACHE", str(root / "cache"))
        patch.delenv("RVTOOL_RUN_PATH", raising=False)
        sky = {"size": 32, "las_max_arcsec": 40}
        simulate.run(simulate.Settings(simulator="radio-galaxy", count=60, out=root / "sky", config=sky), QUIET)
        fit(root, "dcgan", "gan", config={**DCGAN, "progressive": True}, epochs=2, sample_every=1)
        fit(root, "latent-diffusion", "diffusion", config=DIFFUSION, condition=("flux_jy", "las_arcsec"))
        fit(root, "vae", "vae", config={"width": 8})
    return root


def fit(root, model, name, **given):
    defaults = {"epochs": 1, "batch_size": 16, "gpus": 0, "augment": ("rotate-flip",)}
    return train.run(train.Settings(model=model, data=root / "sky", out=root / name, **{**defaults, **given}), QUIET)


@pytest.fixture(autouse=True)
def _cache(root, monkeypatch):
    monkeypatch.setenv("RVTOOL_CACHE", str(root / "cache"))
    monkeypatch.delenv("RVTOOL_RUN_PATH", raising=False)


def make(root, run, out, **given):
    defaults = {"simulator": str(root / run), "count": 40, "planes_per_cube": 16, "out": out}
    return simulate.run(simulate.Settings(**{**defaults, **given}), QUIET)


def test_a_training_leaves_pictures_and_a_film(root):
    names = {path.name for path in (root / "gan" / "samples").iterdir()}
    assert names == {"epoch-0000.png", "epoch-0001.png", "training.gif"}


def test_a_run_makes_a_dataset_like_any_other(root, tmp_path):
    result = make(root, "gan", tmp_path / "made")
    assert result["images"] == 40
    made, sky = open_dataset(tmp_path / "made"), open_dataset(root / "sky")
    assert made.classes("label") == sky.classes("label")
    assert made.info["image"]["unit"] == "Jy/beam"
    assert made.info["image"]["pixel_arcsec"] == 1.8
    assert made.info["source"] == {"name": "generation", "run": str((root / "gan").resolve()), "seed": 0}
    told = train.run(
        train.Settings(model="alhassan-cnn", data=tmp_path / "made", out=tmp_path / "run", epochs=1, gpus=0), QUIET
    )
    assert told["headline"]


def test_the_seed_fixes_the_images_whatever_the_batch(root, tmp_path):
    for name, given in {"a": {}, "b": {"batch_size": 7}, "c": {"seed": 1}}.items():
        make(root, "diffusion", tmp_path / name, **given)
    one, again, other = (fits.getdata(tmp_path / name / "images" / "cube-00000.fits") for name in "abc")
    np.testing.assert_allclose(one, again, rtol=1e-3, atol=1e-4 * np.abs(one).max())
    assert not np.allclose(one, other)
    assert not np.allclose(one[0], one[1])


def test_a_class_and_numbers_are_had_as_asked(root, tmp_path):
    make(root, "diffusion", tmp_path / "made", label="FRII", set={"condition": {"flux_jy": "0.25"}})
    made = open_dataset(tmp_path / "made")
    assert set(made.column("label")) == {"FRII"}
    assert set(made.column("flux_jy")) == {0.25}
    known = set(np.float32(open_dataset(root / "sky").column("las_arcsec")))
    assert {np.float32(value) for value in made.column("las_arcsec")} <= known  # what is not said is as in the training
    assert len(set(made.column("las_arcsec"))) > 5


def test_where_images_are_scaled_to_their_peaks_made_ones_have_it(root, tmp_path):
    fit(root, "latent-diffusion", tmp_path / "run", config=DIFFUSION, scale="image")
    make(root, tmp_path / "run", tmp_path / "made", count=6)
    made = open_dataset(tmp_path / "made")
    peaks = [made.image(row).data.max() for row in range(6)]
    np.testing.assert_allclose(peaks, load_run(tmp_path / "run").stretch.constant, rtol=1e-4)


def test_an_autoencoder_samples_too(root, tmp_path):
    make(root, "vae", tmp_path / "made", count=5)
    assert np.isfinite(open_dataset(tmp_path / "made").image(4).data).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"label": "FRIII"}, "FRI"),
        ({"set": {"condition": {"flux": 1}}}, "flux_jy"),
        ({"set": {"condition": {"flux_jy": "much"}}}, "flux_jy"),
        ({"set": {"loss": {}}}, "condition"),
        ({"images": "here"}, "--images"),
        ({"simulator": "radio-galaxy", "label": "FRI"}, "--label"),
    ],
)
def test_what_a_run_cannot_make_is_told(root, tmp_path, given, words):
    with pytest.raises(ConfigError, match=words):
        make(root, "diffusion", tmp_path / "made", **given)
    assert not (tmp_path / "made").exists()


def test_unknown_pixels_are_made_and_known_ones_kept(root, tmp_path):
    image = open_dataset(root / "sky").image(0).data[0].copy()
    image[10:20, 10:20] = np.nan
    fits.writeto(tmp_path / "a.fits", image, fits.Header({"BUNIT": "Jy/beam"}))
    result = predict.run(
        predict.Settings(run=str(root / "diffusion"), paths=(tmp_path / "a.fits",), out=tmp_path / "b.fits"), QUIET
    )
    assert result["images"] == 1
    made = fits.getdata(tmp_path / "b.fits")
    assert made.shape == image.shape
    assert np.isfinite(made).all()


def test_samples_have_a_mean_and_a_spread(root, tmp_path):
    image = open_dataset(root / "sky").image(0).data[0].copy()
    image[:16] = np.nan
    fits.writeto(tmp_path / "a.fits", image, fits.Header({"BUNIT": "Jy/beam"}))
    asked = {"run": str(root / "diffusion"), "paths": (tmp_path / "a.fits",), "out": tmp_path / "b.fits", "samples": 3}
    predict.run(predict.Settings(**asked, set={"condition": {"label": "FRI"}}), QUIET)
    with fits.open(tmp_path / "b.fits") as units:
        assert [unit.header["EXTNAME"] for unit in units] == ["MEAN", "STDDEV"]
        spread = units[1].data
    assert spread[:16].mean() > spread[16:].mean() >= 0


def test_a_generator_of_chance_completes_nothing(root, tmp_path):
    fits.writeto(tmp_path / "a.fits", np.zeros((32, 32), np.float32))
    with pytest.raises(ConfigError, match="rvtool simulate"):
        predict.run(predict.Settings(run=str(root / "gan"), paths=(tmp_path / "a.fits",)), QUIET)


def test_a_first_stage_travels_with_the_run(root, tmp_path):
    fit(root, "latent-diffusion", "latent", config={**DIFFUSION, "first_stage": str(root / "vae")})
    stage, whole = (load_file(root / name / "model.safetensors") for name in ("vae", "latent"))
    for name, value in stage.items():
        assert torch.equal(whole[f"first_stage.{name}"], value)
    before = load_run(root / "latent").model.sample(torch.arange(2), 0, CPU)
    (root / "vae").rename(tmp_path / "gone")
    try:
        after = load_run(root / "latent").model.sample(torch.arange(2), 0, CPU)
    finally:
        (tmp_path / "gone").rename(root / "vae")
    assert torch.equal(before, after)


def test_a_first_stage_of_another_stretch_is_told(root, tmp_path):
    config = {**DIFFUSION, "first_stage": str(root / "vae")}
    with pytest.raises(ConfigError, match="--softening"):
        fit(root, "latent-diffusion", tmp_path / "run", config=config, softening=0.7)


def test_a_generator_that_saw_the_test_images_trains_no_classifier(root, tmp_path):
    """Its images show what the test asks for; those of a generator of the same splits do not."""
    make(root, "gan", tmp_path / "made")
    given = {"extra": tmp_path / "made", "augment": ()}
    fit(root, "alhassan-cnn", tmp_path / "ok", **given)
    sky = {"size": 32, "las_max_arcsec": 40}
    again = simulate.Settings(simulator="radio-galaxy", count=60, out=tmp_path / "sky", config=sky, split="0/50/50")
    simulate.run(again, QUIET)  # the same images in other parts
    with pytest.raises(DataError, match="was trained on"):
        train.run(train.Settings(model="alhassan-cnn", data=tmp_path / "sky", gpus=0, **given), QUIET)


def test_growing_is_resumed_exactly(root, tmp_path):
    whole = {"config": {**DCGAN, "progressive": True}, "epochs": 4}
    fit(root, "dcgan", tmp_path / "whole", **whole)

    class Stopped(Exception):
        """Stands for a kill."""

    from lightning.pytorch import Callback

    class Stop(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 2:
                raise Stopped

    from rvtool.verbs.train.loop import train as train_watched

    defaults = {"batch_size": 16, "gpus": 0, "augment": ("rotate-flip",)}
    asked = train.Settings(model="dcgan", data=root / "sky", out=tmp_path / "part", **{**defaults, **whole})
    with pytest.raises((Stopped, DataError)):
        train_watched(asked, QUIET, [Stop()])
    train.run(train.Settings(resume=tmp_path / "part"), QUIET)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "part"))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
