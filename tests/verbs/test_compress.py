"""`rvtool compress` and `rvtool decompress`."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pydantic import ValidationError
from rich.console import Console

from rvtool.component import validate
from rvtool.errors import ConfigError, DataError
from rvtool.verbs import compress, decompress


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.fits"
    header = fits.Header({"BUNIT": "Jy/beam"})
    fits.PrimaryHDU(np.random.default_rng(0).normal(size=(256, 256)).astype("f4"), header).writeto(path)
    return path


def said(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_there_and_back(image: Path, console: Console) -> None:
    result = compress.run(compress.Settings(files=(image,), compat=True), console)
    packed = image.with_name("image.rv.fits")
    assert result["failures"] == []
    assert result["files"][0]["out"] == str(packed)
    assert result["files"][0]["out_bytes"] == packed.stat().st_size
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    for words in ("ratio", "bits/pixel", "noise 1.00", "Jy/beam", "bound 0.25", "largest error 0.25"):
        assert words in said(console)
    before = image.read_bytes()
    with pytest.raises(DataError, match="exists already"):
        decompress.run(decompress.Settings(files=(packed,)), console)
    assert image.read_bytes() == before
    result = decompress.run(decompress.Settings(files=(packed,), out=image.with_name("back.fits")), console)["files"][0]
    assert result["original_name"] == "image.fits"
    assert np.abs(fits.getdata(result["out"]) - fits.getdata(image)).max() <= 0.26
    image.unlink()
    decompress.run(decompress.Settings(files=(packed,)), console)
    assert image.read_bytes() == Path(result["out"]).read_bytes()


def test_lossless_absolute_and_codec_settings(image: Path, console: Console) -> None:
    def size(**settings: object) -> int:
        result = compress.run(compress.Settings(files=(image,), codec="rice", overwrite=True, **settings), console)
        return result["files"][0]["out_bytes"]

    assert size(max_error=0.01) > size(max_error="1e-1") > size(max_error="1 sigma")
    assert size(config={"tile_pixels": 8}) > size()
    size(lossless=True)
    packed = image.with_name("image.rv.fits")
    out = decompress.run(decompress.Settings(files=(packed,), out=image.with_name("b.fits")), console)["files"][0][
        "out"
    ]
    assert Path(out).read_bytes() == image.read_bytes()
    with pytest.raises(ConfigError, match="tile_pixels"):
        compress.run(compress.Settings(files=(image,), codec="rice", config={"tile_pixel": 8}), console)
    with pytest.raises(ConfigError, match="rice"):
        compress.run(compress.Settings(files=(image,), codec="rise"), console)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "0sigma", "sigma", "1e", "1.2.3", ".", "1e999", "nan", "inf", "0.25 sigmas"]
)
def test_a_bound_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"max_error.*such as 0\.25sigma"):
        validate(compress.Settings, {"files": ["a.fits"], "max_error": text}, "'compress'")
    with pytest.raises(ValidationError):
        compress.Settings(files=())


def test_one_bad_file_among_many_never_loses_the_others(image: Path, tmp_path: Path, console: Console) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_text("<html>")
    twin = tmp_path / "image.fit"
    twin.write_bytes(image.read_bytes())
    out = tmp_path / "new" / "folder"
    result = compress.run(
        compress.Settings(files=(bad, image, tmp_path / "none.fits", twin), out=out, compat=True), console
    )
    assert [Path(row["file"]).name for row in result["files"]] == ["image.fits"]
    assert {Path(row["file"]).name for row in result["failures"]} == {"bad.fits", "none.fits", "image.fit"}
    with open(out / "failures.csv", newline="") as file:
        assert list(csv.DictReader(file)) == result["failures"]
    with pytest.raises(DataError, match="no FITS"):
        compress.run(compress.Settings(files=(bad,), compat=True), console)
    with pytest.raises(ConfigError, match="is a file"):
        compress.run(compress.Settings(files=(image, twin), out=bad, compat=True), console)
    alone = compress.run(compress.Settings(files=(twin,), out=out.parent, compat=True), console)
    assert alone["files"][0]["out"] == str(out.parent / "image.rv.fits")


def test_decompress_wants_a_file_of_ours(image: Path, console: Console) -> None:
    with pytest.raises(ConfigError, match="--out"):
        decompress.run(decompress.Settings(files=(image,)), console)
    with pytest.raises(DataError, match="not made by"):
        decompress.run(decompress.Settings(files=(image,), out=image.with_name("b.fits")), console)


FULL = """
import resource, sys, io
from pathlib import Path
from rich.console import Console
from rvtool.errors import DataError
from rvtool.verbs import compress, decompress
limit, verb, source, out = int(sys.argv[1]), *sys.argv[2:]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if verb == "compress":
        compress.run(compress.Settings(files=(source,), out=out, compat=True), Console(quiet=True))
    else:
        decompress.run(decompress.Settings(files=(source,), out=out), Console(quiet=True))
except DataError as error:
    print(error)
"""


def _fill(limit: int, verb: str, source: Path, out: Path) -> str:
    command = [sys.executable, "-c", FULL, str(limit), verb, str(source), str(out)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_full_disk_leaves_nothing_behind(image: Path, tmp_path: Path, console: Console) -> None:
    packed = tmp_path / "image.rv.fits"
    compress.run(compress.Settings(files=(image,), compat=True), console)
    for verb, source in (("compress", image), ("decompress", packed)):
        before, out = source.read_bytes(), tmp_path / "out" / "new.fits"
        told = _fill(10_000, verb, source, out)
        assert "full" in told
        assert "is untouched" in told
        assert told.count("\n") == 1
        assert list(out.parent.iterdir()) == []
        assert source.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_truly_full(image: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert "full" in _fill(0, "compress", image, disk / "new.rv.fits")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_settings_are_light() -> None:
    code = (
        "import sys, rvtool.verbs.compress as c, rvtool.verbs.decompress, rvtool_plugins.codecs.predictive\n"
        "c.Settings(files=('a.fits',))\n"
        "print([m for m in ('numpy', 'numba', 'astropy', 'torch', 'scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
