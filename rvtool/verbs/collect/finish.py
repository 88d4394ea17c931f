"""The dataset of what was had: manifest, splits, and the papers that travel with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from rvtool import plugins
from rvtool.data.dataset import Dataset, open_dataset, side_of
from rvtool.data.fits import read_image
from rvtool.data.splits import SPLITS
from rvtool.data.writer import DatasetWriter
from rvtool.errors import DataError
from rvtool.kinds import SourceInfo, Target
from rvtool.report.tables import write_csv
from rvtool.verbs.collect.journal import ABSENT, ALIGNED, ASIDE, DUPLICATE, FAILED, HAD, OUTSIDE, Journal
from rvtool.verbs.collect.mosaic import read_exclusions, write_mosaics
from rvtool.verbs.collect.records import write_citations, write_failures, write_metadata
from rvtool.verbs.collect.services import Service

ROWS_A_BLOCK = 5_000
FAILURES = (ABSENT, FAILED, ASIDE)
MISSED = (*FAILURES, OUTSIDE, DUPLICATE)

Row = dict[str, Any]


def finish(
    journal: Journal, out: Path, sides: Mapping[str, Service], settings: Any, console: Console
) -> dict[str, Any]:
    """Make the dataset of all images that were had, and tell what became of the others.

    Raises
    ------
    DataError
        Not one image was had, or the list of exclusions names images that are not there.
    """
    excluded = _exclusions(journal, out, settings)
    failures = [
        {"id": name, "label": label or "", "reason": reason} for name, label, _, reason in journal.outcomes(FAILURES)
    ]
    write_failures(out, failures)
    if conflicts := journal.fact("conflicts"):
        write_csv(out / "conflicts.csv", ("id", "label", "other_id", "other_label"), conflicts)
    if not any(state == HAD for _, state in journal.counts()):
        first = next((reason for *_, reason in journal.outcomes(MISSED)), "it offers no target")
        name = " and ".join(service.name for service in sides.values())
        raise DataError(f"Source '{name}' gave not one image; the first reason: {first.rstrip('.')}.")
    dataset, told = _write(journal, out, sides, settings, excluded)
    if any(_remote(service) for service in sides.values()):
        write_citations(out, _used(sides, settings), Counter(dataset.words("source")) if "source" in dataset else None)
        write_metadata(out, dataset)
    if settings.mosaic:
        pages = write_mosaics(open_dataset(out, excluded=True), out)
        console.print(f"{len(pages)} mosaics: {pages[0].parent}", markup=False, highlight=False, soft_wrap=True)
    for kind in settings.export:
        from rvtool.verbs.collect.export import export

        for path in export(dataset, kind, out / "export"):
            console.print(f"exported: {path}", markup=False, highlight=False, soft_wrap=True)
    return _tell(dataset, out, failures, told, console)


def _remote(service: Service) -> bool:
    return not service.info.base_url.startswith("file:")


def _exclusions(journal: Journal, out: Path, settings: Any) -> dict[str, str]:
    """Return every image that was ever excluded, with the reason; the journal remembers them."""
    known: dict[str, str] = journal.fact("excluded") or {}
    if settings.exclude is not None:
        known |= read_exclusions(settings.exclude, [name for name, *_ in journal.outcomes((HAD,))], out)
        journal.note("excluded", known)
    return known


def _write(
    journal: Journal, out: Path, sides: Mapping[str, Service], settings: Any, excluded: Mapping[str, str]
) -> tuple[Dataset, str]:
    """Write the manifest in blocks, and ``dataset.toml`` last of all."""
    sizes: Counter[tuple[int, int]] = Counter()
    examples: dict[tuple[int, int], Row] = {}
    with DatasetWriter(out, again=True) as writer:
        block: list[Row] = []
        for target, images in journal.images():
            seen = (images.get(ALIGNED) or images["image"])["seen"]
            size = (seen["height"], seen["width"])
            for row in _rows(target, images):
                if sizes[size] == 0:
                    examples[size] = row
                sizes[size] += 1
                if excluded:
                    row["excluded"] = excluded.get(row["id"], excluded.get(target.id))
                block.append(row)
            if len(block) >= ROWS_A_BLOCK:
                writer.rows(_columns(block))
                block = []
        if block:
            writer.rows(_columns(block))
        described = _sides(out, examples[sizes.most_common(1)[0][0]], sides)
        if len(sizes) > 1:  # a source larger than its cutout has a wider one
            described["image"]["largest_px"] = max(max(size) for size in sizes)
        first, infos = next(iter(sides.values())), [service.info for service in sides.values()]
        facts = {
            **described,
            "source": {
                "name": " and ".join(service.name for service in sides.values()),
                "version": plugins.version_of("source", first.name),
                "settings": _settings(sides),
            },
            "licence": _joined(info.licence for info in infos),
            "citation": _joined(info.citation for info in infos),
        }
        return writer.finish(facts, settings.split, settings.seed, settings.group_arcmin)


def _rows(target: Target, images: Mapping[str, Row]) -> Iterator[Row]:
    """Give the manifest's rows of one target: one a plane."""
    image = images.get(ALIGNED) or images["image"]
    seen = image["seen"]
    place = (target.ra_deg, target.dec_deg)
    if None in place or not math.isfinite(sum(place)):  # type: ignore[arg-type]
        place = (seen["ra_deg"], seen["dec_deg"])
    row = {"path": image["path"], "sha256": image["sha256"], "pixels_sha256": image["pixels_sha256"]}
    other = seen.get("pair")
    if other is not None:
        row |= {"target_path": other["path"], "target_sha256": other["sha256"]}
    known = {**target.columns, **images["image"]["columns"]}
    if place[0] is not None:
        known |= {"ra_deg": place[0], "dec_deg": place[1]}
    provenance = images["image"]["provenance"]
    provenance = dict(provenance) if "request" in provenance else {}
    if provenance and "target" in images:
        provenance |= {f"target_{key}": value for key, value in images["target"]["provenance"].items()}
    own = {"id", "plane", "target_path", "target_plane", "target_sha256", *row, *provenance}
    known = {f"{name}_given" if name in own else name: value for name, value in known.items()}
    for plane in seen["planes"]:
        name = f"{target.id}:{plane}" if len(seen["planes"]) > 1 else target.id
        yield {"id": name, **row, "plane": plane, **known, **provenance}


def _sides(out: Path, row: Row, sides: Mapping[str, Service]) -> dict[str, Any]:
    """Describe the dataset's sides from an image of it, filled by what the sources know."""
    info = sides["image"].info
    found = {"image": side_of(read_image(out / row["path"], row["plane"]), **_facts(info))}
    if "target_path" in row:
        info = sides["target"].info if "target" in sides else SourceInfo("", axes=info.axes)
        found["target"] = side_of(read_image(out / row["target_path"]), **_facts(info))
    return found


def _facts(info: SourceInfo) -> dict[str, Any]:
    """Return what a source knows of its images that their headers may lack."""
    return {"unit": info.unit, "pixel_arcsec": info.pixel_arcsec, "beam": info.beam, "axes": info.axes}


def _settings(sides: Mapping[str, Service]) -> dict[str, Any]:
    """Return the settings of the sources, for ``dataset.toml``."""
    each = {
        service.name: {k: v for k, v in service.config.model_dump(mode="json").items() if v is not None}
        for service in sides.values()
    }
    return each if len(each) > 1 else next(iter(each.values()))


def _used(sides: Mapping[str, Service], settings: Any) -> list[tuple[str, SourceInfo]]:
    """Return the sources that the dataset is owed to: of images, and of the positions where a catalogue gave them."""
    from rvtool.verbs.collect.services import catalogues_of

    used = {service.name: service.info for service in sides.values()}
    for label in settings.class_:
        used |= {service.name: service.info for service in catalogues_of(label, settings, list(sides.values()))}
    return list(used.items())


def _joined(texts: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _columns(rows: list[Row]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _tell(dataset: Dataset, out: Path, failures: list[dict[str, str]], told: str, console: Console) -> dict[str, Any]:
    """Say how many there are and what is missing, the dataset's folder last."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    counts = Counter(dataset.column("split").tolist())
    say(f"{len(dataset)} images: {', '.join(f'{counts[part]} {part}' for part in SPLITS)}; {told}")
    if failures:
        first = failures[0]["reason"]
        say(f"{len(failures)} could not be had ({out / 'failures.csv'}); the first: {first}", "yellow")
    say(str(out))
    return {
        "dataset": str(out),
        "images": len(dataset),
        "splits": dict(counts),
        "failures": failures,
        "headline": f"{len(dataset)} images, {len(failures)} failures",
    }
