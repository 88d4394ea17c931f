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
ENTRY = re.compile(r"^\s*@", re.MULTILINE)


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
    starts = [match.start() for match in ENTRY.finditer(bibtex)]
    return [bibtex[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]


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
            text = json.dumps(record, default=str, ensure_ascii=False, allow_nan=False)
            stream.write(b"[\n" if number == 0 else b",\n")
            stream.write(text.encode())
        stream.write(b"\n]\n")
    return path


def _records(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for batch in dataset.table.to_batches(max_chunksize=ROWS_A_BLOCK):
        for row in batch.to_pylist():
            known = {name: value for name, value in row.items() if _tells(value)}
            yield {"id": known.pop("id"), "object_type": known.pop("label", None), **known}


def _tells(value: Any) -> bool:
    """Tell whether a value belongs into a record: an empty one says nothing, and JSON knows finite numbers only."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def write_failures(out: Path, rows: Iterable[Mapping[str, str]]) -> Path | None:
    """Write ``failures.csv``: ``id, label, reason`` of what could not be had; where there is nothing, remove it."""
    path = out / "failures.csv"
    failed = [[row["id"], row["label"], row["reason"]] for row in rows]
    if not failed:
        path.unlink(missing_ok=True)
        return None
    write_csv(path, ("id", "label", "reason"), failed)
    return path
