"""A trained autoencoder as a codec: what comes back, within which bound, wherever it is decoded; and the verbs."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.io import fits
from rich.console import Console
from safetensors.torch import load_file, save_file

from rvtool.compressed.coder import Coder
from rvtool.errors import ConfigError, DataError
from rvtool.verbs import compress, decompress, simulate, train
from rvtool_plugins.codecs.learned import LearnedConfig
from rvtool_plugins.codecs.learned.codec import SHIPPED, TOLERANCE, LearnedCodec, _by_hash

NOISE = 1.5e-4
QUIET = Console(file=StringIO(), width=200)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vqvae and a vae of a few steps, a twin of the first with other weights, and one with another stretch."""
    root = tmp_path_factory.mktemp("codecs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RVTOOL_CACHE", str(root / "cache"))
        sky = {"size": 64, "las_max_arcsec": 80}
        simulate.run(simulate.Settings(simulator="radio-galaxy", count=30, out=root / "sky", config=sky), QUIET)
        for model in ("vqvae", "vae"):
            train.run(
                train.Settings(
                    model=model,
                    config={"width": 4, "latents": 16},
                    data=root / "sky",
                    out=root / "runs" / model,
                    steps=6,
                    batch_size=8,
                    gpus=0,
                ),
                QUIET,
            )
    made = root / "runs"
    for name in ("twin", "peaks"):
        (made / name).mkdir()
        for file in ("run.json", "model.safetensors", "stretch.json"):
            (made / name / file).write_bytes((made / "vqvae" / file).read_bytes())
    weights = load_file(made / "twin" / "model.safetensors")
    weights["decoder.line.bias"] += 0.01
    save_file(weights, made / "twin" / "model.safetensors")
    stretch = json.loads((made / "peaks" / "stretch.json").read_text())
    stretch["settings" if "settings" in stretch else "stretch"] |= {"scale": "train", "softening": 0.1}
    (made / "peaks" / "stretch.json").write_text(json.dumps(stretch))
    return made


@pytest.fixture
def codec(runs: Path) -> LearnedCodec:
    return LearnedCodec(LearnedConfig(run=str(runs / "vqvae")))


def sky(*shape: int, seed: int = 0, bright: float = 300.0) -> np.ndarray:
    """Make noise with a wide and a narrow source."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    wide = 10 * np.exp(-((x - shape[-1] / 3) ** 2 + (y - shape[-2] / 2) ** 2) / (2 * (shape[-1] / 6) ** 2))
    narrow = bright * np.exp(-((x - shape[-1] / 2) ** 2 + (y - shape[-2] / 3) ** 2) / 4)
    return (NOISE * (rng.normal(size=shape) + wide + narrow)).astype("f4")


def cases() -> Iterator[tuple[str, np.ndarray]]:
    blank = sky(40, 56)
    blank[:9], blank[20, 20], blank[21, 21], blank[22, 22] = np.nan, np.inf, -np.inf, np.nan
    blank.view("u4")[23, 23] = 0x7FC12345  # a NaN with bits of its own
    yield "blank pixels", blank
    for shape in ((1, 1), (1, 9), (8, 8), (31, 17), (2, 3, 16, 24), (64,)):
        yield f"{shape}", sky(*((1,) * (2 - len(shape)) + shape)).reshape(shape)
    yield "float64", sky(33, 40).astype("f8") * 1e5
    yield "far from 0", sky(24, 24) + np.float32(1.0)
    for extreme in (1e38, -3e38):
        hot = sky(24, 32)
        hot[3, 3], hot[3, 4] = extreme, 1e6 * NOISE
        yield f"a pixel of {extreme}", hot
    yield "flat", np.full((20, 20), 3e-3, "f4")
    yield "nothing known", np.full((20, 20), np.nan, "f4")
    yield "half of it flat", np.where(np.arange(24) < 12, 0, sky(24, 24)).astype("f4")


@pytest.mark.parametrize(("what", "image"), list(cases()), ids=[what for what, _ in cases()])
@pytest.mark.parametrize("name", ["vqvae", "vae", "peaks"])
def test_what_comes_back(runs: Path, name: str, what: str, image: np.ndarray) -> None:
    codec = LearnedCodec(LearnedConfig(run=str(runs / name)))
    known = np.isfinite(image)
    for bound in (np.inf, NOISE / 2, NOISE * 1e-3, 0.0):
        data = codec.encode(image, bound)
        back = codec.decode(data, image.shape, image.dtype)
        assert (back.shape, back.dtype) == (image.shape, image.dtype)
        assert np.array_equal(back[~known].view("u1"), image[~known].view("u1"))
        assert np.isfinite(back[known]).all()
        if np.isfinite(bound):
            with np.errstate(over="ignore"):
                error = np.abs(back[known].astype("f8") - image[known].astype("f8"))
            assert error.max(initial=0) <= bound


def test_integers_come_back_bit_by_bit(codec: LearnedCodec) -> None:
    for dtype in ("u1", "i2", "i4", "i8"):
        image = np.random.default_rng(0).integers(0, 99, (20, 30)).astype(dtype)
        for bound in (np.inf, 5.0, 0.0):
            assert np.array_equal(codec.decode(codec.encode(image, bound), image.shape, image.dtype), image)


def test_without_a_bound_the_image_is_still_the_image(codec: LearnedCodec) -> None:
    """The wide source is kept, and only part of the noise, in a small part of the bytes."""
    image = sky(128, 128)
    data = codec.encode(image, np.inf)
    back = codec.decode(data, image.shape, image.dtype)
    smooth = [value.reshape(16, 8, 16, 8).mean((1, 3)) for value in (back, image)]
    assert np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1] > 0.98
    assert len(data) < len(codec.encode(image, NOISE / 2)) / 1.5


def permuted(model: torch.nn.Module) -> torch.nn.Module:
    """Return a model with the channels within its decoder in another order: the same sums, added in another order."""
    other = copy.deepcopy(model)
    first, block, widen = other.decoder.net[0], other.decoder.net[1], other.decoder.net[2]
    generator = torch.Generator().manual_seed(1)
    outer, inner = (torch.randperm(first.out_channels, generator=generator) for _ in range(2))
    with torch.no_grad():
        for layer, out in ((first, outer), (block.around, inner), (block.mix, outer)):
            layer.weight.copy_(layer.weight[out])
            layer.bias.copy_(layer.bias[out])
        for layer, given in ((block.around, outer), (block.mix, inner), (widen, outer)):
            layer.weight.copy_(layer.weight[:, given])
    return other


def elsewhere(codec: LearnedCodec, decode: Callable[[torch.Tensor], torch.Tensor]) -> LearnedCodec:
    """Return the codec as on a machine where the decoder makes this of latents."""
    other = copy.copy(codec)
    other.model = SimpleNamespace(restore=codec.model.restore, decode=decode)
    return other


@pytest.mark.parametrize("where", ["permuted", "float64", "as far off as is allowed for", "and to the other side"])
def test_the_bound_holds_where_floats_differ(runs: Path, where: str) -> None:
    codec = LearnedCodec(LearnedConfig(run=str(runs / "vqvae")))
    codec.model = copy.deepcopy(codec.model)
    with torch.no_grad():  # what is learnt after a few steps adds next to nothing: as loud as the line
        codec.model.decoder.last.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    model = codec.model
    exact = copy.deepcopy(model.decoder).double()

    def off(latents: torch.Tensor) -> torch.Tensor:
        made = model.decode(latents).double()
        return made + (1 if where.startswith("as") else -1) * TOLERANCE * (1 + made.abs())

    decodes = {"permuted": permuted(model).decode, "float64": lambda latents: exact(latents.double())}
    other = elsewhere(codec, decodes.get(where, off))
    image = sky(96, 120, bright=3e4)
    for bound in (NOISE / 4, NOISE / 50):
        data = codec.encode(image, bound)
        here, there = (one.decode(data, image.shape, image.dtype).astype("f8") for one in (codec, other))
        assert not np.array_equal(here, there)
        assert np.abs(here - image.astype("f8")).max() <= bound
        assert np.abs(there - image.astype("f8")).max() <= bound


FRESH = """
import hashlib, sys
import numpy as np
from rvtool_plugins.codecs.learned import LearnedConfig
from rvtool_plugins.codecs.learned.codec import LearnedCodec
codec = LearnedCodec(LearnedConfig(run=sys.argv[1]))
image = np.load(sys.argv[2])
for bound in (np.inf, 5e-5):
    data = codec.encode(image, bound)
    back = codec.decode(data, image.shape, image.dtype)
    print(hashlib.sha256(data).hexdigest(), hashlib.sha256(back.tobytes()).hexdigest())
"""


def test_a_fresh_process_makes_the_same_bytes_and_pixels(runs: Path, codec: LearnedCodec, tmp_path: Path) -> None:
    image = sky(100, 90)
    np.save(tmp_path / "image.npy", image)
    expected = []
    for bound in (np.inf, 5e-5):
        data = codec.encode(image, bound)
        back = codec.decode(data, image.shape, image.dtype)
        expected += [hashlib.sha256(data).hexdigest(), hashlib.sha256(back.tobytes()).hexdigest()]
    words = [sys.executable, "-c", FRESH, str(runs / "vqvae"), str(tmp_path / "image.npy")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    told = subprocess.run(words, env={**os.environ, **threads}, check=True, capture_output=True, text=True).stdout
    assert told.split() == expected


def test_foreign_and_damaged_bytes_are_told(codec: LearnedCodec) -> None:
    image = sky(24, 32)
    image[3, 4:7] = np.nan
    rng = np.random.default_rng(0)
    for bound in (np.inf, NOISE / 2):
        data = codec.encode(image, bound)
        for foreign in (b"", b"\x01", b"\x07" + data[1:], data[:9], data[: len(data) // 2], b"SIMPLE  = " * 9):
            with pytest.raises(DataError):
                codec.decode(foreign, image.shape, image.dtype)
        for _ in range(80):
            damaged = bytearray(data)
            place = rng.integers(len(data) if rng.random() < 0.5 else 40)
            damaged[int(place)] ^= 1 << int(rng.integers(8))
            try:
                back = codec.decode(bytes(damaged), image.shape, image.dtype)
            except DataError:
                continue
            assert (back.shape, back.dtype) == (image.shape, image.dtype)
        with pytest.raises(DataError):
            codec.decode(data, (1 << 20, 1 << 20), image.dtype)
        with pytest.raises(DataError):
            codec.decode(data, image.shape, np.dtype("i2"))


def test_tiles_leave_no_seams(runs: Path) -> None:
    image = sky(256, 256, bright=0)
    codec = LearnedCodec(LearnedConfig(run=str(runs / "vqvae"), tile_pixels=64))
    side, _ = codec.tile_shape(image.shape)
    error = Coder(codec, np.inf).restore(image) - image
    near = np.minimum(np.arange(256) % side, -np.arange(1, 257) % side) < 4
    border = near[:, None] | near
    assert 0.05 < border.mean() < 0.5
    assert np.sqrt(np.mean(error[border] ** 2)) <= 1.3 * np.sqrt(np.mean(error[~border] ** 2))


def test_tiles_are_of_whole_cells(codec: LearnedCodec) -> None:
    assert codec.tile_shape((3, 2000, 70)) == (1, 1000, 70)
    assert codec.tile_shape((2050, 1024)) == (688, 1024)
    assert codec.tile_shape((1, 5)) == (1, 5)


# ---------------------------------------------------------------- through the verbs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two images, a cube, integers and a table."""
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])
    counts = np.random.default_rng(0).integers(0, 999, (20, 20)).astype("i2")
    hdus = [fits.PrimaryHDU(sky(70, 90)), fits.ImageHDU(sky(2, 24, 24)), fits.ImageHDU(counts), table]
    hdus[0].header["BUNIT"] = "Jy/beam"
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    return tmp_path / "a.fits"


def packed(file: Path, run: Path | str, **given: object) -> dict:
    console = Console(file=StringIO(), width=300)
    result = compress.run(compress.Settings(files=(file,), codec=str(run), **given), console)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result | {"told": console.file.getvalue()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("max_error", ["1e-4", "none"])
def test_there_and_back(
    runs: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_error: str
) -> None:
    result = packed(file, runs / "vqvae", max_error=max_error)
    assert result["failures"] == []
    assert ("no bound" in result["told"]) == (max_error == "none")
    out, back = tmp_path / "a.rv.fits", tmp_path / "back.fits"
    again = decompress.Settings(files=(out,), out=back)
    monkeypatch.setenv("RVTOOL_RUNS", str(tmp_path))
    _by_hash.cache_clear()  # as in a process that has not met the run
    with pytest.raises(DataError, match=r"was compressed with a trained model\. The run .* is not in") as told:
        decompress.run(again, QUIET)
    assert "\n" not in str(told.value)
    monkeypatch.setenv("RVTOOL_RUNS", str(runs))
    decompress.run(again, QUIET)
    with fits.open(file) as before, fits.open(back) as after:
        assert [hdu.header for hdu in before] == [hdu.header for hdu in after]
        for number in (2, 3):
            assert np.array_equal(before[number].data, after[number].data)
        for number in (0, 1):
            error = np.abs(after[number].data.astype("f8") - before[number].data)
            assert 0 < error.max() <= float(max_error.replace("none", "inf"))


def test_another_run_makes_the_file_anew(runs: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.rv.fits"
    packed(file, runs / "vqvae", max_error="0.5sigma")
    made = out.read_bytes()
    stamp = out.stat().st_mtime_ns
    packed(file, runs / "vqvae", max_error="0.5sigma")
    assert out.stat().st_mtime_ns == stamp  # it is there already
    with pytest.raises(DataError, match="exists already"):
        packed(file, runs / "twin", max_error="0.5sigma")
    packed(file, runs / "twin", max_error="0.5sigma", overwrite=True)
    assert out.read_bytes() != made


def test_what_cannot_compress_is_told(runs: Path, file: Path, tmp_path: Path) -> None:
    for name in ("predictive", "rice"):
        with pytest.raises(ConfigError, match=f"'{name}' keeps a bound"):
            packed(file, name, max_error="none")
    with pytest.raises(ConfigError, match="learned"):
        packed(file, tmp_path / "nowhere", max_error="none")
    record = json.loads((runs / "twin" / "run.json").read_text())
    (tmp_path / "cnn").mkdir()
    (tmp_path / "cnn" / "run.json").write_text(json.dumps(record | {"model": "alhassan-cnn", "task": "classification"}))
    for file_name in ("model.safetensors", "stretch.json"):
        (tmp_path / "cnn" / file_name).write_bytes((runs / "twin" / file_name).read_bytes())
    with pytest.raises(ConfigError, match="no autoencoder"):
        packed(file, tmp_path / "cnn")
    if not SHIPPED.exists():
        with pytest.raises((ConfigError, DataError)):
            packed(file, "learned")


def test_a_finished_run_has_its_prior(codec: LearnedCodec, runs: Path) -> None:
    shares = np.diff(codec.prior.tables, axis=-1)
    assert np.ptp(shares) > 1000
    assert float(codec.model.log_sigma) != 0
    image = sky(128, 128)
    (symbols,) = codec._symbols(image[None], [(0.0, NOISE)])
    assert 8 * len(codec.prior.encode(symbols)) == pytest.approx(codec.prior.bits(symbols).sum(), rel=0.03)
    assert codec.prior.bits(symbols).sum() < 0.7 * symbols.size * np.log2(31)
