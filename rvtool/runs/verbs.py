"""The table of verbs: all that the command line and recipes know of them.

Each is a module `rvtool.verbs.NAME` with `Settings` and `run(settings, console) -> dict`. The table is plain data, and
no room below the verbs imports one: `Verb.load` is the one way up, by name and only when called, because a recipe must
check the settings of every stage before the first is run.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from rvtool.errors import unknown


@dataclass(frozen=True)
class Verb:
    """A row of the table of verbs.

    Attributes
    ----------
    kind, field
        The kind of component that the verb composes, and the field of its settings that names it.
    positional
        Fields that are typed without an option's name, in their order.
    nested
        Kinds of further components whose settings travel in ``set``, each with the field that names those used
        (``""``: all that a recipe has settings for).
    """

    name: str
    summary: str
    kind: str | None = None
    field: str | None = None
    positional: tuple[str, ...] = ()
    nested: tuple[tuple[str, str], ...] = ()

    def load(self) -> Any:
        """Import the verb's module."""
        return importlib.import_module(f"rvtool.verbs.{self.name.replace('-', '_')}")


_COMPRESS = (
    "Compress FITS images within a guaranteed error.\n\n"
    "By default no pixel changes by more than a quarter of the image's noise, and faint sources keep their flux: the "
    "choice for science at the smallest size. '--max-error' sets another bound, '--lossless' keeps every bit. These "
    "files are read by rvtool ('rvtool decompress', 'rvtool.open'); '--compat' writes what DS9, CARTA and every FITS "
    "reader open, larger.\n\n"
    "Guaranteed in each mode: headers, tables, integers and blanks come back bit for bit, and every file is decoded "
    "and compared pixel by pixel before it gets its name. Sources stay, unless '--delete-source' is given."
)

_TABLE = (
    Verb(
        "collect",
        "Collect images from a survey or a folder into a dataset.",
        "source",
        "source",
        nested=(("source", ""),),
    ),
    Verb("simulate", "Simulate images into a dataset.", "simulator", "simulator", ("simulator",)),
    Verb(
        "train",
        "Train a model on a dataset, into a run.",
        "model",
        "model",
        ("model",),
        nested=(("loss", "loss"), ("augmenter", "augment")),
    ),
    Verb("evaluate", "Judge runs on images that they never saw.", positional=("runs",)),
    Verb("predict", "Apply a run to images.", positional=("run", "paths")),
    Verb("compress", _COMPRESS, "codec", "codec", ("files",)),
    Verb("decompress", "Restore compressed FITS files, or a part of one.", positional=("files",)),
    Verb(
        "compare-codecs",
        "Compare codecs on images: size, speed, error, and what becomes of faint sources.",
        positional=("images",),
        nested=(("codec", "codec"),),
    ),
    Verb("run", "Run a recipe: its stages in order, the finished ones skipped.", positional=("recipe",)),
    Verb("plugins", "List the components that are installed, and broken plugins."),
)
VERBS = {verb.name: verb for verb in _TABLE}


def verb(name: str) -> Verb:
    """Return a verb by name.

    Raises
    ------
    ConfigError
        There is no such verb; the nearest are named.
    """
    if name not in VERBS:
        raise unknown("command", name, VERBS)
    return VERBS[name]
