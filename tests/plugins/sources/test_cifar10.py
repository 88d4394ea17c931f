"""CIFAR-10: classes, the published split and pixels, through torchvision."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from rvtool.errors import SourceError
from rvtool.kinds import Absent, Fatal, Found, Listed, Reply, Target
from rvtool.testing import check_source
from rvtool_plugins.sources.cifar10 import Cifar10Config, rvtool_sources
from rvtool_plugins.sources.cifar10.source import Cifar10

COLOURS = {"data_batch_1": ((255, 0, 0), (0, 255, 0)), "test_batch": ((0, 0, 255),)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photographs of one colour each, in the published layout; torchvision takes their checksums for its own."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    sums = {}
    files: dict[str, dict[str, Any]] = {
        name: {
            "batch_label": name,
            "labels": [3 + n for n in range(len(colours))],
            "data": np.repeat(np.array(colours, np.uint8), 1024, axis=1),  # a photograph a row: red, green, blue planes
            "filenames": [f"photograph_{n}.png" for n in range(len(colours))],
        }
        for name, colours in COLOURS.items()
    }
    kinds = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for name, said in {"batches.meta": {"label_names": kinds}, **files}.items():
        body = pickle.dumps(said, protocol=2)
        (folder / name).write_bytes(body)
        sums[name] = hashlib.md5(body, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    return tmp_path


def ask(root: Path, **settings: Any) -> tuple[Cifar10, Reply]:
    """Return the source of a folder, and the reply that it gets."""
    source = Cifar10(Cifar10Config(path=root, **settings))
    (request,) = source.query("", None)
    path = Path(url2pathname(urlsplit(request.url).path))
    return source, Reply(request, 200, {}, path.read_bytes()) if path.exists() else Reply(request, 404, {}, b"")


def test_contract(root: Path) -> None:
    check_source(rvtool_sources()[0], {"path": root}, probe=Target("cat/train_00000"))


def test_targets_have_class_and_published_split(root: Path) -> None:
    source, reply = ask(root)
    assert source.entries("", reply) == Listed(
        (
            Target("cat/train_00000", columns={"label": "cat", "published_split": "train", "fold": None}),
            Target("deer/train_00001", columns={"label": "deer", "published_split": "train", "fold": None}),
            Target("cat/test_00000", columns={"label": "cat", "published_split": "test", "fold": 0}),
        )
    )


@pytest.mark.parametrize(
    ("name", "colour", "luma"),  # 0.299, 0.587 and 0.114 of 255 (ITU-R BT.601)
    [("cat/train_00000", (255, 0, 0), 76), ("deer/train_00001", (0, 255, 0), 150), ("cat/test_00000", (0, 0, 255), 29)],
)
def test_an_image_is_its_pixels(root: Path, name: str, colour: tuple[int, ...], luma: int) -> None:
    for grey in (False, True):
        source, reply = ask(root, grey=grey)
        found = source.read(Target(name), reply)
        assert isinstance(found, Found)
        pixels = np.asarray(Image.open(io.BytesIO(found.body)))
        assert (found.suffix, pixels.dtype) == (".png", np.uint8)
        assert np.array_equal(pixels, np.full((32, 32), luma) if grey else np.full((32, 32, 3), colour))


def test_other_names_are_absent(root: Path) -> None:
    source, reply = ask(root)
    for name in ("cat/train_00002", "cat/test_-0001", "cat", "cat/other_00000"):
        assert isinstance(source.read(Target(name), reply), Absent)


def test_what_is_not_there_or_was_changed_is_told(root: Path, tmp_path: Path) -> None:
    source, reply = ask(tmp_path / "nowhere")
    assert isinstance(read := source.entries("", reply), Fatal)
    assert "--download" in read.reason
    (root / CIFAR10.base_folder / "test_batch").write_bytes(pickle.dumps(print))
    source, reply = ask(root)
    assert isinstance(read := source.entries("", reply), Fatal)
    assert "corrupted" in read.reason


def test_torchvision_fetches_what_is_not_there(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = (root / CIFAR10.base_folder).rename(tmp_path / "kept")

    def fetch(self: CIFAR10) -> None:
        if kept.exists():
            kept.rename(Path(self.root) / CIFAR10.base_folder)

    monkeypatch.setattr(CIFAR10, "download", fetch)
    source, reply = ask(root, download=True)
    assert isinstance(read := source.entries("", reply), Listed)
    assert len(read.targets) == 3


def test_what_cannot_be_fetched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(self: CIFAR10) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", fetch)
    with pytest.raises(SourceError, match="no route to host"):
        Cifar10(Cifar10Config(path=tmp_path, download=True)).query("", None)
