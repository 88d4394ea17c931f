"""CIFAR-10, as torchvision fetches, checks and reads it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rvtool.data.files import cache_folder
from rvtool.errors import SourceError
from rvtool.kinds import Absent, Fatal, Found, Listed, Reply, Request, SourceInfo, Target
from rvtool.services.batches import png, split_columns
from rvtool_plugins.sources.cifar10 import Cifar10Config

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

META = "cifar-10-batches-py/batches.meta"


class Cifar10:
    """Lists the photographs and gives them; every request is the one small file beside the batches.

    torchvision compares every batch with the checksum that was published before it opens it.
    """

    classes: ClassVar[tuple[str, ...]] = ()  # who asks catalogues for objects of the sky means none of these

    def __init__(self, config: Cifar10Config) -> None:
        self.config = config
        self._root = (config.path or cache_folder() / "cifar10").resolve()
        self.info = SourceInfo(
            base_url=(self._root / META).as_uri(),
            citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images, University of Toronto",
        )

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        """Ask for the file beside the batches; before that, with `download`, torchvision fetches what is not there.

        Raises
        ------
        SourceError
            It cannot.
        """
        if self.config.download:
            try:
                _ = self._parts
            except (OSError, RuntimeError) as error:
                raise SourceError(
                    f"torchvision cannot fetch CIFAR-10 into {self._root} ({error}); try again later, or name a folder "
                    "that has it with --path."
                ) from error
        return (Request(self.info.base_url),)

    def entries(self, label: str, reply: Reply) -> Listed | Fatal:
        """List all 60,000, with their classes and the published split."""
        parts = self._opened(reply)
        if isinstance(parts, Fatal):
            return parts
        targets = []
        for split, part in parts.items():
            for number, kind in enumerate(part.targets):
                columns = {"label": part.classes[kind], **split_columns(split)}
                targets.append(Target(f"{part.classes[kind]}/{split}_{number:05d}", columns=columns))
        return Listed(tuple(targets))

    def request(self, target: Target) -> Request:
        """Ask for the file beside the batches."""
        return Request(self.info.base_url)

    def read(self, target: Target, reply: Reply) -> Found | Absent | Fatal:
        """Take the target's photograph out of the batches, as PNG."""
        parts = self._opened(reply)
        if isinstance(parts, Fatal):
            return parts
        split, _, number = target.id.rpartition("/")[2].partition("_")
        if split not in parts or not number.isdecimal() or int(number) >= len(parts[split]):
            return Absent("CIFAR-10 has no photograph of this name")
        image, _ = parts[split][int(number)]
        return Found(png(np.asarray(image.convert("L") if self.config.grey else image)), ".png")

    def _opened(self, reply: Reply) -> dict[str, CIFAR10] | Fatal:
        if reply.status != 200:
            return Fatal(
                f"there is no CIFAR-10 in {self._root}; name the folder that holds cifar-10-batches-py with --path, or "
                "let torchvision fetch it there with --download"
            )
        try:
            return self._parts
        except (OSError, RuntimeError) as error:
            return Fatal(
                f"torchvision cannot use CIFAR-10 in {self._root} ({error}); take it from where it was published"
            )

    @cached_property
    def _parts(self) -> dict[str, CIFAR10]:
        from torchvision.datasets import CIFAR10

        return {
            split: CIFAR10(self._root, train=split == "train", download=self.config.download)
            for split in ("train", "test")
        }
