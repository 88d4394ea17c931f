"""Radio Galaxy Zoo: images out of batches of the published layout, filtered, from a folder and from an archive."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
from PIL import Image

from rvtool.errors import ConfigError
from rvtool.kinds import Absent, Fatal, Found, Listed, Reply, Request, Retry, Target
from rvtool.testing import check_source
from rvtool_plugins.sources.rgz import RgzConfig, rvtool_sources
from rvtool_plugins.sources.rgz.source import Rgz

NAMES = ("RGZJ102040.8+314105", "RGZJ000000.0-010203", "a source without a place")


def batch(levels: tuple[int, ...], names: tuple[str, ...] = NAMES, las: float = 100.0) -> dict[str, Any]:
    """Return a batch as their script writes it: lists of rows of pixels and of numbers of NumPy."""
    names = names[: len(levels)]
    return {
        "batch_label": "training batch 1 of 1",
        "data": [np.append(np.zeros(22_499, np.uint8), np.uint8(level)) for level in levels],
        "filenames": [f"{name}.png" for name in names],
        "src_ids": list(names),
        "mb_flag": [np.int64(n == 1) for n in range(len(names))],
        "LAS": [np.float64(las + n) for n in range(len(names))],
    }


def write(root: Path, **batches: Any) -> Path:
    """Write a folder of batches, as their archive unpacks to."""
    folder = root / "rgz20k-batches-py"
    folder.mkdir()
    for name, said in {"batches.meta": {"label_names": [""]}, **batches}.items():
        (folder / name.replace("_meta", ".meta")).write_bytes(said if isinstance(said, bytes) else pickle.dumps(said))
    return root


def packed(root: Path) -> Path:
    """Pack the folder of batches, as it was published."""
    path = root / "rgz20k-batches-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(root / "rgz20k-batches-py", "./rgz20k-batches-py")
    return path


def ask(path: Path, **settings: Any) -> tuple[Rgz, Reply]:
    """Return the source of what lies at a path, and the reply that it gets."""
    source = Rgz(RgzConfig(path=path, **settings))
    (request,) = source.query("", None)
    return source, Reply(request, 200, {}, Path(url2pathname(urlsplit(request.url).path)).read_bytes())


def listed(path: Path, **settings: Any) -> dict[str, Target]:
    source, reply = ask(path, **settings)
    read = source.entries("", reply)
    assert isinstance(read, Listed)
    return {target.id: target for target in read.targets}


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """Three training images and two to test with; the first of these is the first of those again."""
    return write(tmp_path, data_batch_1=batch((1, 2, 3)), test_batch=batch((1, 4), ("RGZJ102040.8+314105", "last"), 50))


def test_contract(batches: Path) -> None:
    check_source(rvtool_sources()[0], {"path": batches})
    check_source(rvtool_sources()[0], {"path": packed(batches)})


def test_targets_have_place_size_and_published_split(batches: Path) -> None:
    found = listed(batches)
    assert list(found) == [*NAMES, "RGZJ102040.8+314105-2", "last"]
    first, last = found[NAMES[0]], found["last"]
    assert (first.ra_deg, first.dec_deg) == pytest.approx((155.17, 31.684722), abs=1e-6)
    assert found[NAMES[1]].dec_deg == pytest.approx(-1.034167, abs=1e-6)
    assert (last.ra_deg, last.dec_deg) == (None, None)
    assert first.columns == {"las_arcsec": 100.0, "in_mirabest": False, "published_split": "train", "fold": None}
    assert last.columns == {"las_arcsec": 51.0, "in_mirabest": True, "published_split": "test", "fold": 0}
    assert listed(packed(batches)) == listed(batches / "rgz20k-batches-py") == found


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"drop_duplicates": True}, [*NAMES, "last"]),  # the one to test with goes
        ({"least_las_arcsec": 101.0}, list(NAMES[1:])),
        ({"without_mirabest": True}, [NAMES[0], NAMES[2], "RGZJ102040.8+314105-2"]),
        ({"drop_duplicates": True, "least_las_arcsec": 60.0, "without_mirabest": True}, [NAMES[0], NAMES[2]]),
    ],
)
def test_filters(batches: Path, settings: dict[str, Any], left: list[str]) -> None:
    assert list(listed(batches, **settings)) == left


def test_an_image_is_its_pixels(batches: Path) -> None:
    source, reply = ask(batches, without_mirabest=True)
    target = Target(NAMES[2])
    assert source.request(target) == reply.request
    found = source.read(target, reply)
    assert isinstance(found, Found)
    pixels = np.asarray(Image.open(io.BytesIO(found.body)))
    assert (found.suffix, pixels.shape, pixels.dtype) == (".png", (150, 150), np.uint8)
    assert (pixels[149, 149], pixels.sum()) == (3, 3)
    assert isinstance(source.read(Target(NAMES[1]), reply), Absent)  # which was left out


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "cannot be read"),
        (pickle.dumps(batch((1, 2)))[:9000], "cannot be read"),
        (pickle.dumps(print), "which no image needs"),
        (batch((1, 2)) | {"LAS": [1.0]}, "shorter"),
        ({"data": []}, "src_ids"),
        (batch((1,)) | {"data": [np.zeros(1024, np.uint8)]}, "150x150"),
        (batch((1,)) | {"data": [np.zeros(22_500, np.float32)]}, "150x150"),
        (batch((1,)) | {"mb_flag": ["perhaps"]}, "no flag"),
        (batch(()), "No image is left"),
    ],
    ids=["nothing", "half", "code", "uneven", "no names", "small", "floats", "no flag", "empty"],
)
def test_batches_that_are_none(tmp_path: Path, said: Any, reason: str) -> None:
    source, reply = ask(write(tmp_path, data_batch_1=said))
    read = source.entries("", reply)
    assert isinstance(read, Fatal)
    assert reason in read.reason


def test_archives_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(write(tmp_path))
    source, reply = ask(path)
    assert isinstance(read := source.entries("", reply), Fatal)
    assert "no batch" in read.reason
    monkeypatch.setattr("rvtool_plugins.sources.rgz.source.LARGEST", 1000)  # as the 108,000 are too large
    assert isinstance(read := source.entries("", reply), Fatal)
    assert "unpack it" in read.reason


def test_paths_without_batches_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no archive, and no folder"):
        Rgz(RgzConfig(path=tmp_path))


def test_what_is_fetched_is_what_was_published(batches: Path) -> None:
    source = Rgz(RgzConfig())
    (request,) = source.query("", None)
    assert request == Request("http://www.jb.man.ac.uk/research/ascaife/rgz20k-batches-python.tar.gz", shared=True)
    read = source.entries("", Reply(request, 200, {}, packed(batches).read_bytes()))
    assert isinstance(read, Retry)
    assert "published" in read.reason


@pytest.mark.live
def test_live(fetch: Callable[[Request], Reply]) -> None:
    source = Rgz(RgzConfig())
    read = source.entries("", fetch(source.query("", None)[0]))
    assert isinstance(read, Listed)
    assert len(read.targets) > 20_000
