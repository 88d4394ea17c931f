"""Translators from end to end: pairs in, a run, FITS out on the same sky."""

import csv
import signal
import subprocess
import sys
import time
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS, Sip
from rich.console import Console
from safetensors.torch import load_file

from rvtool.data.batches import prepare
from rvtool.data.dataset import open_dataset
from rvtool.data.fits import planes
from rvtool.data.grid import finer
from rvtool.errors import ConfigError, DataError
from rvtool.runs.run import load_run
from rvtool.verbs import evaluate, predict, simulate, train
from rvtool.verbs.train.callbacks import Keeper, Referee

QUIET = Console(file=StringIO(), width=200)
SRGAN = {"blocks": 1, "width": 6, "critic_width": 4, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Simulate galaxies of 32x32 px, and pairs with images half as fine."""
    root = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVTOOL_CACHE", str(root / "cache"))
        sky = {"size": 32, "las_max_arcsec": 40}
        simulate.run(simulate.Settings(simulator="radio-galaxy", count=60, out=root / "sky", config=sky), QUIET)
        coarser = {"data": root / "sky", "factor": 2, "to_beam_arcsec": 10.8}
        simulate.run(simulate.Settings(simulator="lower-resolution", out=root / "pairs", config=coarser), QUIET)
    return root / "pairs"


def settings(data, out, **given):
    defaults = {"model": "srgan", "config": SRGAN, "epochs": 3, "batch_size": 8, "gpus": 0, "augment": ("rotate-flip",)}
    return train.Settings(data=data, out=out, **{**defaults, **given})


@pytest.fixture(scope="module")
def run(pairs):
    """Train for two epochs with a critic in the second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVTOOL_CACHE", str(pairs.parent / "cache"))
        patch.delenv("RVTOOL_RUN_PATH", raising=False)
        train.run(settings(pairs, pairs.parent / "run", sample_every=1), QUIET)
    return pairs.parent / "run"


@pytest.fixture
def field(tmp_path):
    """Write a field of 200x150 px with a point source, a blank corner, and a header as real ones are."""
    image = np.random.default_rng(0).normal(0, 3e-4, (150, 200)).astype(np.float32)
    y, x = np.mgrid[:150, :200]
    image += 0.05 * np.exp(-4 * np.log(2) * ((x - 120) ** 2 + (y - 60) ** 2) / 3**2).astype(np.float32)
    image[:10, :20] = np.nan
    header = fits.Header({"BUNIT": "Jy/beam", "OBJECT": "field", "BMAJ": 10.8 / 3600, "BMIN": 10.8 / 3600, "BPA": 0.0})
    for axis, kind, value, step, middle in ((1, "RA---SIN", 150.0, -3.6, 100.5), (2, "DEC--SIN", 30.0, 3.6, 75.5)):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, value, middle
        header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = step / 3600, "deg"
    fits.writeto(tmp_path / "field.fits", image, header)
    return tmp_path / "field.fits"


def apply(run, *paths, **given):
    told = StringIO()
    result = predict.run(predict.Settings(run=str(run), paths=paths, **given), Console(file=told, width=300))
    return result, told.getvalue()


def test_the_critic_takes_part_when_it_is_to(run):
    with open(run / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["train/critic-loss"]) for row in rows] == [False, True, True]  # half of three epochs is one
    assert all(0 <= float(row["train/critic-accuracy"]) <= 1 for row in rows[1:])
    assert load_run(run).record["best"]["epoch"] >= 1  # those without a critic do not compete


def test_pictures_become_a_film(run):
    from PIL import Image

    assert len(list((run / "samples").glob("epoch-*.png"))) == 3
    with Image.open(run / "samples" / "training.gif") as film:
        assert film.n_frames == 3


def test_a_critic_that_has_won_is_told():
    told = []
    rows = [{"val/loss": 1.0, "train/critic-accuracy": accuracy} for accuracy in (0.5, 0.99, 0.985, 1.0, 1.0)]
    journal, display = SimpleNamespace(rows=[]), SimpleNamespace(line=told.append)
    referee = Referee(journal, display)
    for row in rows:
        journal.rows.append(row)
        referee.on_train_epoch_end(None, None)
    (line,) = told
    assert "100% of all cases for 3 epochs; it has won" in line


def test_epochs_before_the_critic_neither_win_nor_end_the_training(monkeypatch, tmp_path):
    monkeypatch.setattr(Keeper, "_save", lambda *given: None)
    keeper = Keeper(tmp_path, ("val/loss", "min"), "val/loss", save_every=0, patience=2)
    module = SimpleNamespace(judged_from_epoch=3)
    trainer = SimpleNamespace(should_stop=False, callback_metrics={})
    stopped = []
    for trainer.current_epoch, loss in enumerate([1.0, 1.1, 1.2, 2.0, 1.5, 1.6, 1.7]):
        trainer.callback_metrics = {"val/loss": torch.tensor(loss)}
        keeper.on_train_epoch_end(trainer, module)
        stopped.append(trainer.should_stop)
    assert stopped == [False] * 6 + [True]  # two epochs after the best of those that count
    assert (keeper.best_epoch, keeper.best) == (4, 1.5)


def test_evaluation_stands_beside_baselines(run, tmp_path):
    told = StringIO()
    judged = evaluate.run(
        evaluate.Settings(runs=(str(run),), bootstrap=100, out=tmp_path / "e"), Console(file=told, width=200)
    )
    assert set(judged["psnr_lit"]) >= {"value", "low", "high", "baseline", "best", "gain"}
    assert judged["psnr_lit"]["best"] in {"nearest", "bilinear", "bicubic", "Lanczos", "Wiener", "Richardson-Lucy"}
    assert judged["consistency"]["value"] > 0
    assert ("loses to" in told.getvalue()) == any(judged[name]["gain"] < 0 for name in ("psnr", "psnr_lit", "ssim"))
    files = {path.name for path in (tmp_path / "e").iterdir()}
    assert {
        "images.png",
        "power.png",
        "flux_and_size.png",
        "detections.png",
        "injected.png",
        "images.csv",
        "metrics.json",
        "report.html",
    } <= files
    with open(tmp_path / "e" / "images.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == judged["images"]
    assert np.mean([float(row["psnr"]) for row in rows]) == pytest.approx(judged["psnr"]["value"], rel=1e-4)


def test_the_output_is_the_same_sky_on_finer_pixels(run, field, tmp_path):
    _, told = apply(run, field, out=tmp_path / "out.fits")
    assert "Mind" not in told
    with fits.open(tmp_path / "out.fits") as hdus:
        image, header = hdus[0].data, hdus[0].header
        hdus.verify("exception")
    assert image.shape == (300, 400)
    assert (header["BUNIT"], header["OBJECT"]) == ("Jy/beam", "field")
    assert header["BMAJ"] * 3600 == pytest.approx(5.4)
    assert "srgan" in str(header["HISTORY"])
    old, new = WCS(fits.getheader(field)), WCS(header)
    for x, y in ((0, 0), (120, 60), (199, 149)):
        fine = new.world_to_pixel(old.pixel_to_world(x, y))
        np.testing.assert_allclose(fine, [2 * x + 0.5, 2 * y + 0.5], atol=0.01)
    blank = np.isnan(image)
    assert blank[:20, :40].all()
    assert blank.sum() == 800
    top = np.unravel_index(np.nanargmax(image), image.shape)
    assert np.hypot(top[0] - 120.5, top[1] - 240.5) < 2


def test_tiles_make_what_the_whole_makes(run, field, tmp_path, monkeypatch):
    apply(run, field, out=tmp_path / "tiles.fits")
    monkeypatch.setattr("rvtool.verbs.predict.translating.LEAST_TILE", 1000)
    apply(run, field, out=tmp_path / "whole.fits")
    tiles, whole = (fits.getdata(tmp_path / f"{name}.fits") for name in ("tiles", "whole"))
    np.testing.assert_allclose(tiles, whole, atol=1e-7)


def test_a_run_simulates_what_it_makes_of_a_dataset(run, pairs, tmp_path):
    out = tmp_path / "made"
    simulate.run(simulate.Settings(simulator=str(run), images=pairs, out=out), QUIET)
    before, after = open_dataset(pairs), open_dataset(out)
    for name in ("id", "split", "group", "label"):
        assert before.column(name).tolist() == after.column(name).tolist()
    assert after.info["source"]["run"] == str(run.resolve())
    assert after.image(0).data.shape == before.target(0).data.shape
    assert after.image(0).beam.major_arcsec == pytest.approx(5.4)
    model = load_run(run)
    (batch,) = model.prepare.batches(model.material(pairs), np.array([5]), 1, torch.device("cpu"))
    made = model.prepare.restore(model.model.predict(batch), batch)[0].numpy()
    np.testing.assert_allclose(after.image(5).data, made, atol=1e-6)
    told = StringIO()
    coarse = simulate.Settings(simulator=str(run), images=pairs.parent / "sky", out=tmp_path / "other")
    simulate.run(coarse, Console(file=told, width=300))
    assert "Mind: The images have another pixel scale than run was trained on: 1.8 arcsec, not 3.6" in told.getvalue()
    with pytest.raises(ConfigError, match="name them: --images"):
        simulate.run(simulate.Settings(simulator=str(run), out=tmp_path / "x"), QUIET)


def test_a_crop_shows_the_same_sky_on_both_sides(pairs, tmp_path):
    with pytest.raises(ConfigError, match="half a pixel"):
        train.run(settings(pairs, tmp_path / "odd", crop=9), QUIET)
    train.run(settings(pairs, tmp_path / "run", epochs=1, crop=8), QUIET)
    data = load_run(tmp_path / "run").data
    assert (data.image.height, data.target.height) == (8, 16)
    with pytest.raises(ConfigError, match="--resize would change"):
        train.run(settings(pairs, tmp_path / "no", crop=8, resize=4), QUIET)


def test_several_images_go_into_a_folder(run, field, tmp_path):
    other = tmp_path / "other.fits"
    other.write_bytes(field.read_bytes())
    broken = tmp_path / "broken.fits"
    broken.write_bytes(field.read_bytes()[:3000])
    result, told = apply(run, field, broken, other, out=tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["field.fits", "other.fits"]
    assert [failure["file"] for failure in result["failures"]] == [str(broken)]
    assert "broken.fits" in told


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"out": "x.csv"}, "name a file that ends with .fits"),
        ({"out": "out.fits", "samples": 4}, "makes the same image every time"),
    ],
)
def test_what_cannot_be_is_told(run, field, tmp_path, given, says):
    with pytest.raises(ConfigError, match=says):
        apply(run, field, **{**given, "out": tmp_path / given["out"]})


def test_every_plane_of_every_file_gets_an_image(run, field, tmp_path):
    """A cube is many images, and files of one name in two folders are two."""
    cube = np.stack([fits.getdata(field) * number for number in (1, 2, 3)])
    fits.writeto(tmp_path / "cube.fits", cube, fits.getheader(field))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "field.fits").write_bytes(field.read_bytes())
    apply(run, tmp_path / "cube.fits", out=tmp_path / "planes")
    assert sorted(path.name for path in (tmp_path / "planes").iterdir()) == [f"cube-{n}.fits" for n in range(3)]
    apply(run, field, tmp_path / "b" / "field.fits", out=tmp_path / "both")
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["field-2.fits", "field.fits"]
    with pytest.raises(ConfigError, match="--explain is for models that answer"):
        apply(run, field, explain=True, out=tmp_path / "x.fits")


def test_a_network_that_sees_the_whole_image_is_shown_as_much_as_in_training(tmp_path, monkeypatch):
    monkeypatch.setenv("RVTOOL_CACHE", str(tmp_path / "cache"))
    hosts = {"size": 32, "bands": "i,r,g", "field_per_arcmin2": 0}
    simulate.run(simulate.Settings(simulator="radio-optical", count=40, out=tmp_path / "pairs", config=hosts), QUIET)
    config = {"width": 4, "critic_width": 4}
    train.run(settings(tmp_path / "pairs", tmp_path / "run", model="pix2pix", config=config, epochs=1), QUIET)
    judged = evaluate.run(evaluate.Settings(runs=(str(tmp_path / "run"),), bootstrap=100), QUIET)
    assert judged["features"] is None  # optical images are not what the classifier of radio images knows
    assert judged["psnr"]["best"] in {"mean image", "nearest neighbour"}
    fits.writeto(tmp_path / "wide.fits", np.random.default_rng(0).normal(0, 1e-4, (64, 100)).astype(np.float32))
    apply(tmp_path / "run", tmp_path / "wide.fits", out=tmp_path / "out.fits", samples=3)
    with fits.open(tmp_path / "out.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["MEAN", "STDDEV"]
        assert hdus[0].data.shape == (3, 64, 100)
        assert np.isfinite(hdus[1].data).all()
        assert hdus[1].data.max() > 0
    (colour,) = planes(tmp_path / "out.fits")
    assert colour.data.shape == (3, 64, 100)
    with pytest.raises(ConfigError, match="two or more with --samples"):
        apply(tmp_path / "run", tmp_path / "wide.fits", out=tmp_path / "one.fits", samples=1)


def test_a_distortion_is_told_in_finer_pixels(field):
    wcs = WCS(fits.getheader(field))
    a = np.zeros((3, 3))
    a[2, 0], a[1, 1] = 1e-3, -2e-4
    wcs.sip = Sip(a, a.T.copy(), None, None, wcs.wcs.crpix)
    wcs.wcs.ctype = ["RA---SIN-SIP", "DEC--SIN-SIP"]
    wcs.wcs.set()
    fine = finer(wcs, 4)
    for x, y in ((0, 0), (150, 20)):
        old = wcs.all_pix2world([[x, y]], 0)
        new = fine.all_pix2world([[4 * x + 1.5, 4 * y + 1.5]], 0)
        np.testing.assert_allclose(new, old, atol=1e-9)


def test_what_exists_is_kept(run, field, tmp_path):
    (tmp_path / "out.fits").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        apply(run, field, out=tmp_path / "out.fits")
    assert (tmp_path / "out.fits").read_text() == "mine"


def test_pairs_that_do_not_fit_are_told(pairs, tmp_path):
    with pytest.raises(ConfigError, match="pix2pix makes targets as large as the images"):
        train.run(settings(pairs, tmp_path / "run", model="pix2pix", config={}), QUIET)
    with pytest.raises(DataError, match="no targets"):
        train.run(settings(pairs.parent / "sky", tmp_path / "run"), QUIET)


def test_a_translator_goes_on_from_another(run, pairs, tmp_path):
    told = StringIO()
    begun = settings(pairs, tmp_path / "run", epochs=1, from_=str(run), config=SRGAN | {"learning_rate": 1e-9})
    train.run(begun, Console(file=told, width=200))
    assert "begins with 100.0% of the backbone's weights" in told.getvalue()
    before, after = (load_run(path).model.generator.state_dict() for path in (run, tmp_path / "run"))
    assert all(torch.allclose(before[name], after[name], atol=1e-5) for name in before)


def test_a_target_of_another_sky_or_of_several_planes_is_left_out(field, tmp_path):
    with fits.open(field) as hdus:
        image, header = np.nan_to_num(hdus[0].data[:32, :32]), hdus[0].header
        for name in ("a", "b", "c", "d"):
            fits.writeto(tmp_path / f"{name}.fits", image, header)
            fits.writeto(tmp_path / f"{name}-target.fits", image if name != "c" else np.stack([image] * 3), header)
        header["CRVAL2"] += 1
        fits.writeto(tmp_path / "b-target.fits", image, header, overwrite=True)
    rows = "".join(f"{name}.fits,{name}-target.fits\n" for name in ("a", "b", "c", "d"))
    (tmp_path / "labels.csv").write_text("image,target\n" + rows)
    failures = prepare(open_dataset(tmp_path), label_column=None).target.failures
    assert set(failures) == {1, 2}
    assert "b-target.fits shows another sky than its image: its centre is 60 arcmin away" in failures[1]
    assert "add the column 'target_plane'" in failures[2]


def test_optimisers_move_their_own_part_only(pairs, tmp_path, monkeypatch):
    """The generator's loss flows through the critic, and yet does not move it."""
    from rvtool_plugins.models.srgan.model import SRGAN as Kind

    moved = []
    descend = Kind.descend

    def watched(self, optimizer, loss, batch_index):
        before = {name: value.detach().clone() for name, value in self.named_parameters()}
        descend(self, optimizer, loss, batch_index)
        moved.append(
            {name.partition(".")[0] for name, value in self.named_parameters() if not torch.equal(value, before[name])}
        )

    monkeypatch.setattr(Kind, "descend", watched)
    train.run(settings(pairs, tmp_path / "run", epochs=1, loss=("bce-gan:1",)), QUIET)
    assert moved[:2] == [{"critic"}, {"generator"}]
    assert all(parts == {("critic", "generator")[number % 2]} for number, parts in enumerate(moved))


def begin(pairs, out):
    """Train with a critic in all but the first epochs, in a process of its own."""
    words = [sys.executable, "-m", "rvtool", "train", "srgan", "--data", str(pairs), "--out", str(out), "--ema", "0.9"]
    words += ["--epochs", "14", "--batch-size", "4", "--save-every", "3", "--gpus", "0", "--blocks", "1"]
    words += ["--width", "6", "--critic-width", "4", "--pretrain", "0.2", "--clip", "0.5", "--precision", "bf16"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_after_kill_9_a_gan_is_gone_on_with_exactly(pairs, tmp_path):
    """Two optimisers, their schedules and the running mean of the weights come back."""
    whole = begin(pairs, tmp_path / "whole")
    told, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, told
    victim = begin(pairs, tmp_path / "cut")
    checkpoint = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(np.random.default_rng().uniform(0, 0.5))  # a random step: any must do
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    train.run(train.Settings(resume=tmp_path / "cut"), QUIET)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    last = [torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=False) for name in ("whole", "cut")]
    assert len(last[0]["optimizer_states"]) == 2
    for one, other in zip(*(found["optimizer_states"] for found in last), strict=True):
        assert one["state"]
        for name, state in one["state"].items():
            assert torch.equal(state["exp_avg"], other["state"][name]["exp_avg"])
    for name, value in last[0]["state_dict"].items():
        assert torch.equal(value, last[1]["state_dict"][name])
