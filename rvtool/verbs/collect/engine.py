"""The collecting: asks a source for targets and requests, fetches, validates each image, and writes the dataset."""

from __future__ import annotations

import hashlib
import math
import re
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool import plugins
from rvtool.data.dataset import side_of
from rvtool.data.files import FULL
from rvtool.data.fits import Image, planes
from rvtool.data.splits import parse_fractions
from rvtool.data.writer import DatasetWriter
from rvtool.errors import ConfigError, DataError, SourceError
from rvtool.kinds import Absent, Fatal, Found, Retry, Source, Target
from rvtool.report.progress import counted
from rvtool.report.tables import write_csv
from rvtool.verbs.collect import Settings
from rvtool.verbs.collect.transport import fetch

ROWS_A_BLOCK = 10_000
FIRST_WAIT_S = 1.0
UNSAFE = re.compile(r"[^\w.+/-]")


def collect(settings: Settings, console: Console) -> dict[str, Any]:
    """Collect a dataset (see `rvtool.verbs.collect.run`)."""
    if not settings.source:
        names = ", ".join(plugins.components("source"))
        raise ConfigError(
            f"Name where the images come from (--source: {names}), for example: "
            "rvtool collect --source folder --path images --out data/mine"
        )
    component = plugins.component("source", settings.source)
    config = component.configure(settings.config)
    source: Source = component.load()(config)
    parse_fractions(settings.split)  # what is wrong is told before anything is made
    targets = list(source.targets())
    out = settings.out or Path("data") / settings.source
    failures: list[dict[str, str]] = []
    sides: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    with DatasetWriter(out) as writer, counted(console, "collecting") as progress:
        block: list[dict[str, Any]] = []
        pace = 1 / (settings.max_rate or source.info.max_rate_per_s)
        for done, target in enumerate(targets):
            progress(done, len(targets))
            answer = _ask(source, target, settings, pace)
            if isinstance(answer, Fatal):
                raise SourceError(f"Source '{settings.source}' stopped at {target.id}: {answer.reason}")
            try:
                if not isinstance(answer, Found):
                    raise DataError(answer.reason)
                block += _keep(writer, source, target, answer, sides=sides, taken=taken)
            except DataError as error:
                if getattr(error.__cause__, "errno", None) in FULL:
                    raise  # no further image can be kept: that is no fault of this one
                failures.append({"id": target.id, "reason": str(error)})
            if len(block) >= ROWS_A_BLOCK:
                writer.rows(_columns(block))
                block = []
        if failures:
            write_csv(out / "failures.csv", ("id", "reason"), (failure.values() for failure in failures))
        if block:
            writer.rows(_columns(block))
        elif not sides:
            first = failures[0]["reason"] if failures else "it offers no target"
            raise DataError(f"Source '{settings.source}' gave not one image; the first reason: {first}")
        info = {
            **sides,
            "source": {
                "name": settings.source,
                "version": plugins.version_of("source", settings.source),
                "settings": {k: v for k, v in config.model_dump(mode="json").items() if v is not None},
            },
            "licence": source.info.licence,
            "citation": source.info.citation,
        }
        dataset, told = writer.finish(info, settings.split, settings.seed, settings.group_arcmin)
    counts = dict(zip(*_counted(dataset.column("split")), strict=True))
    parts = ", ".join(f"{counts.get(part, 0)} {part}" for part in ("train", "val", "test"))
    console.print(f"{len(dataset)} images: {parts}; {told}", markup=False, highlight=False, soft_wrap=True)
    if failures:
        console.print(
            f"{len(failures)} could not be had ({out / 'failures.csv'}); the first: {failures[0]['reason']}",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    console.print(str(out), markup=False, highlight=False, soft_wrap=True)
    return {
        "dataset": str(out),
        "images": len(dataset),
        "splits": counts,
        "failures": failures,
        "headline": f"{len(dataset)} images, {len(failures)} failures",
    }


def _ask(source: Source, target: Target, settings: Settings, pace_s: float) -> Found | Absent | Fatal | Retry:
    """Ask for one target, again where the service could not answer, ever later."""
    answer: Found | Absent | Fatal | Retry = Retry("it was never asked")
    for attempt in range(settings.attempts):
        begun = time.monotonic()
        request = source.request(target)
        if settings.base_url:
            url = request.url.replace(source.info.base_url, settings.base_url.rstrip("/"), 1)
            request = replace(request, url=url)
        answer = source.read(target, fetch(request))
        if not request.url.startswith("file:"):
            time.sleep(max(0.0, begun + pace_s - time.monotonic()))
        if not isinstance(answer, Retry):
            break
        if attempt + 1 < settings.attempts:
            time.sleep(answer.after_s if answer.after_s is not None else FIRST_WAIT_S * 2**attempt)
    return answer


def _keep(
    writer: DatasetWriter,
    source: Source,
    target: Target,
    found: Found,
    *,
    sides: dict[str, dict[str, Any]],
    taken: set[str],
) -> list[dict[str, Any]]:
    """Write an image, read it back, and make a row for each of its planes."""
    name = _file_name(target.id, found, taken)
    path, images = _store(writer, f"images/{name}{found.suffix}", found)
    row: dict[str, Any] = {"path": path, "sha256": hashlib.sha256(found.body).hexdigest()}
    known = {k: v for k, v in asdict(source.info).items() if k in ("unit", "pixel_arcsec")} | {"beam": source.info.beam}
    if found.pair is not None:
        try:
            row["target_path"], pair_images = _store(writer, f"targets/{name}{found.pair.suffix}", found.pair)
        except DataError:
            (writer.out / path).unlink()
            raise
        row["target_sha256"] = hashlib.sha256(found.pair.body).hexdigest()
        sides.setdefault("target", side_of(pair_images[0]))
    sides.setdefault("image", side_of(images[0], **known))
    rows = []
    told = None
    if target.ra_deg is not None and target.dec_deg is not None and math.isfinite(target.ra_deg + target.dec_deg):
        told = (target.ra_deg, target.dec_deg)
    for image in images:
        centre = told or image.centre
        place = {"ra_deg": centre[0], "dec_deg": centre[1]} if centre else {}
        name = f"{target.id}:{image.plane}" if len(images) > 1 else target.id
        rows.append({"id": name, **row, "plane": image.plane, **place, **target.columns, **found.columns})
    return rows


def _file_name(name: str, found: Found, taken: set[str]) -> str:
    """Make a file name of an id, without its suffix; numbered from 2 where another image has it already."""
    # an id may hold folders, but never leads out of the dataset
    safe = "/".join(part for part in UNSAFE.sub("_", name).split("/") if part.strip("."))
    base = safe.removesuffix(found.suffix).rstrip("/") or "image"
    number, free = 1, base
    while f"{free}{found.suffix}".casefold() in taken:  # some file systems do not tell A from a
        number += 1
        free = f"{base}-{number}"
    taken.add(f"{free}{found.suffix}".casefold())
    return free


def _store(writer: DatasetWriter, path: str, found: Found) -> tuple[str, list[Image]]:
    """Write bytes into the dataset, and make sure that they are an image with at least one known pixel."""
    file = writer.out / path
    writer.write(path, found.body)
    try:
        images = [image for image in planes(file) if image.mask.any()]
        if not images:
            raise DataError(f"{file.name} has not one known pixel (all NaN).")
    except DataError:
        file.unlink()
        raise
    return path, images


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _counted(values: Any) -> tuple[list[str], list[int]]:
    import numpy as np

    names, counts = np.unique(values.astype(str), return_counts=True)
    return names.tolist(), counts.tolist()
