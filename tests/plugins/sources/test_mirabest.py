"""MiraBest: images and classes out of one archive, and no pickle that asks for more."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rvtool.kinds import Absent, Fatal, Found, Listed, Reply, Request, Retry, Target
from rvtool.testing import check_source
from rvtool_plugins.sources.mirabest import MirabestConfig, rvtool_sources
from rvtool_plugins.sources.mirabest.source import MD5, Mirabest, _read_once

NAMES = (
    "./MiraBest_data/100_208.637+028.243_0.0645_0082.21.png",
    "./MiraBest_data/210_117.904-002.457_0.2920_0067.26.png",
)


def batch(names: tuple[str, ...] = NAMES, protocol: int = 3) -> bytes:
    """Return a batch as they are published."""
    data = [np.full((150, 150), 10 * n, np.uint8) for n in range(1, len(names) + 1)]
    said = {"batch_label": "training", "labels": [0, 1], "data": data, "filenames": [np.str_(name) for name in names]}
    return pickle.dumps(said, protocol=protocol)


def archive(**batches: bytes) -> bytes:
    """Return an archive of batches."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, body in batches.items():
            member = tarfile.TarInfo(f"batches/{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return out.getvalue()


def local(tmp_path: Path, body: bytes) -> tuple[Mirabest, Reply]:
    """Return the source of an archive in a file, and the reply that it gets."""
    path = tmp_path / "MiraBest_basic_batches.tar.gz"
    path.write_bytes(body)
    source = Mirabest(MirabestConfig(path=path))
    return source, Reply(source.query("", None)[0], 200, {}, body)


def test_contract(tmp_path: Path) -> None:
    check_source(rvtool_sources()[0])
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(archive(data_batch_1=batch()))
    check_source(rvtool_sources()[0], {"path": path})


@pytest.mark.parametrize("protocol", [3, 4])
def test_names_tell_class_position_and_size(tmp_path: Path, protocol: int) -> None:
    body = archive(data_batch_1=batch(NAMES[:1], protocol), test_batch=batch(NAMES[1:], protocol))
    source, reply = local(tmp_path, body)
    read = source.entries("", reply)
    assert isinstance(read, Listed)
    assert read.targets == (
        Target(
            "100_208.637+028.243_0.0645_0082.21",
            208.637,
            28.243,
            {
                "label": "FRI",
                "mirabest_code": 100,
                "confidence": "confident",
                "redshift": 0.0645,
                "las_arcsec": 82.21,
                "published_split": "train",
                "fold": None,
            },
        ),
        Target(
            "210_117.904-002.457_0.2920_0067.26",
            117.904,
            -2.457,
            {
                "label": "FRII",
                "mirabest_code": 210,
                "confidence": "uncertain",
                "redshift": 0.292,
                "las_arcsec": 67.26,
                "published_split": "test",
                "fold": 0,
            },
        ),
    )


def test_an_image_is_its_pixels(tmp_path: Path) -> None:
    source, reply = local(tmp_path, archive(data_batch_1=batch()))
    read = source.entries("FRII", reply)
    assert isinstance(read, Listed)
    (target,) = read.targets
    assert source.request(target) == source.query("FRI", 3)[0]  # one archive for all
    assert Mirabest(MirabestConfig()).request(target).shared  # but not a file of this machine, which may change
    assert not source.request(target).shared
    found = source.read(target, reply)
    assert isinstance(found, Found)
    pixels = np.asarray(Image.open(io.BytesIO(found.body)))
    assert (found.suffix, pixels.dtype) == (".png", np.uint8)
    assert np.array_equal(pixels, np.full((150, 150), 20))
    assert found.columns["label"] == "FRII"
    assert isinstance(source.read(Target("another", 1.0, 1.0), reply), Absent)


class Harmful:
    """Unpickles to a call."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return self.call, ("touch harm",)


@pytest.mark.parametrize("call", [os.system, eval, io.open, np.load, np.frombuffer, getattr])
def test_a_pickle_that_asks_for_more_is_refused(tmp_path: Path, call: Callable[..., Any]) -> None:
    body = pickle.dumps({"data": [Harmful(call)], "filenames": list(NAMES[:1]), "labels": [0]}, protocol=3)
    source, reply = local(tmp_path, archive(data_batch_1=body))
    read = source.entries("", reply)
    assert isinstance(read, Fatal)
    assert "which no image needs" in read.reason
    assert not (tmp_path / "harm").exists()
    assert not Path("harm").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x1f\x8b\x08nonsense",
        archive(readme=b"no batch"),
        archive(data_batch_1=batch()[:2000]),
        archive(data_batch_1=pickle.dumps({"data": []})),
        archive(data_batch_1=pickle.dumps([1, 2])),
        archive(data_batch_1=batch(("galaxy.png",))),
        archive(zeros_batch=bytes(2**26 + 1)),
    ],
    ids=["nothing", "no gzip", "no batch", "half", "no names", "list", "other names", "bomb"],
)
def test_archives_that_are_none(tmp_path: Path, body: bytes) -> None:
    source, reply = local(tmp_path, body)
    assert isinstance(source.entries("", reply), Fatal)


def test_what_is_fetched_is_what_was_published() -> None:
    source = Mirabest(MirabestConfig())
    read = source.entries("", Reply(source.query("", None)[0], 200, {}, archive(data_batch_1=batch())))
    assert isinstance(read, Retry)
    assert "published" in read.reason


@pytest.mark.shared
def test_the_published_archive(shared: Path) -> None:
    import hashlib

    source = Mirabest(MirabestConfig())
    body = (shared / "mirabest/MiraBest_basic_batches.tar.gz").read_bytes()
    assert hashlib.md5(body, usedforsecurity=False).hexdigest() == MD5
    reply = Reply(source.query("", None)[0], 200, {}, body)
    read = source.entries("", reply)
    assert isinstance(read, Listed)
    assert len({t.id for t in read.targets}) == 770
    assert Counter(t.columns["label"] for t in read.targets) == {"FRI": 339, "FRII": 431}
    assert Counter(t.columns["published_split"] for t in read.targets) == {"train": 693, "test": 77}
    parsed = _read_once.cache_info().misses
    brightest = 0
    for target in read.targets[:100]:
        found = source.read(target, Reply(reply.request, 200, {}, bytes(bytearray(body))))
        assert isinstance(found, Found)
        brightest = max(brightest, int(np.asarray(Image.open(io.BytesIO(found.body))).max()))
    assert brightest == 255
    assert _read_once.cache_info().misses == parsed  # however often it is read


@pytest.mark.live
def test_live(fetch: Callable[[Request], Reply]) -> None:
    source = Mirabest(MirabestConfig())
    read = source.entries("", fetch(source.query("", None)[0]))
    assert isinstance(read, Listed)
    assert len(read.targets) == 770
