"""The papers that travel with a dataset: citations, acknowledgements, lists of its images and of its failures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rvtool.data.dataset import Dataset
from rvtool.data.files import write_bytes, writing
from rvtool.kinds import SourceInfo
from rvtool.report.tables import write_csv

ROWS_A_BLOCK = 5_000
ENTRY = re.compile(r"^\s*(?=@)", re.MULTILINE)


def write_citations(
    out: Path, infos: Sequence[tuple[str, SourceInfo]], images: Mapping[str, int] | None = None
) -> tuple[Path, Path]:
    """Write ``CITATION.bib`` and ``ACKNOWLEDGEMENTS.md`` for the sources of a dataset.

    Parameters
    ----------
    out
        The dataset's folder.
    infos
        Name and facts of each source that was really used.
    images
        How many images each gave, by its name.

    Returns
    -------
    The two paths.
    """
    bib, thanks = out / "CITATION.bib", out / "ACKNOWLEDGEMENTS.md"
    entries = dict.fromkeys(entry for _, info in infos for entry in _entries(info.bibtex))
    write_bytes(bib, "\n\n".join(entries).encode() + b"\n" * bool(entries))
    sections = [_section(name, info, (images or {}).get(name)) for name, info in infos]
    text = "# Whom these images are owed to\n\nCite what `CITATION.bib` lists, and print what the surveys ask for.\n\n"
    write_bytes(thanks, (text + "\n\n".join(sections) + "\n").encode())
    return bib, thanks


def _entries(bibtex: str) -> list[str]:
    """Cut BibTeX into its entries: two sources may share one of several."""
    return [entry.strip() for entry in ENTRY.split(bibtex) if entry.strip()]


def _section(name: str, info: SourceInfo, images: int | None) -> str:
    facts = {
        "Images": images,
        "Release": info.release,
        "Citation": info.citation,
        "Licence": info.licence,
        "Checked against the service": info.last_checked,
    }
    lines = [f"## {name}", ""]
    lines += [f"- {title}: {value}" for title, value in facts.items() if value not in (None, "")]
    lines += [f"- Not verified: {fact}" for fact in info.unverified]
    if info.acknowledgement:
        lines += ["", f"> {' '.join(info.acknowledgement.split())}"]
    return "\n".join(lines)


def write_metadata(out: Path, dataset: Dataset) -> Path:
    """Write ``metadata.json``: a list of one record an image, the manifest's columns and ``object_type``, its class."""
    path = out / "metadata.json"
    with writing(path) as stream:
        for number, record in enumerate(_records(dataset)):
            stream.write((b"[\n" if number == 0 else b",\n") + json_of(record))
        stream.write(b"\n]\n")
    return path


def _records(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for batch in dataset.table.to_batches(max_chunksize=ROWS_A_BLOCK):
        for row in batch.to_pylist():
            yield {"id": row.pop("id"), "object_type": row.pop("label", None) or "", **row}


def json_of(record: Mapping[str, Any]) -> bytes:
    """Write one image's record as JSON, without what it does not tell: JSON knows finite numbers only."""
    told = {name: value for name, value in record.items() if not _empty(value)}
    return json.dumps(told, default=str, ensure_ascii=False, allow_nan=False).encode()


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def write_failures(out: Path, rows: Iterable[Mapping[str, str]]) -> Path | None:
    """Write ``failures.csv``: ``id, label, reason`` of what could not be had; where there is nothing, remove it."""
    path = out / "failures.csv"
    failed = [[row["id"], row["label"], row["reason"]] for row in rows]
    if not failed:
        path.unlink(missing_ok=True)
        return None
    write_csv(path, ("id", "label", "reason"), failed)
    return path
