"""Looking at a collection: how far it is, and whether its files are what they were."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rvtool.report.progress import counted
from rvtool.verbs.collect.database import busy
from rvtool.verbs.collect.journal import ABSENT, ASIDE, DUPLICATE, FAILED, HAD, OUTSIDE, PENDING, SPARE, Journal

STATES = (HAD, PENDING, FAILED, ABSENT, ASIDE, OUTSIDE, DUPLICATE, SPARE)


def status(folder: Path, console: Console) -> dict[str, Any]:
    """Tell how many targets of each class are in which state; another process may be collecting meanwhile.

    Raises
    ------
    DataError
        The folder has no journal, or one that cannot be used.
    """
    with contextlib.closing(Journal(folder, write=False)) as journal:
        counts, planned = journal.counts(), journal.fact("planned")
    classes = sorted({label for label, _ in counts}, key=str)
    shown = [state for state in STATES if any(counts.get((label, state)) for label in classes)]
    table = Table(title=Text(str(folder)), title_justify="left")
    for heading in ("class", *shown):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for label in classes:
        table.add_row(Text(label or "-"), *(str(counts.get((label, state), 0)) for state in shown))
    console.print(table)
    total = Counter[str]()
    for (_, state), count in counts.items():
        total[state] += count
    complete = (folder / "dataset.toml").exists()
    if busy(folder):
        advice = "another rvtool is collecting at this moment"
    elif planned is None:
        advice = "its targets were not listed to the end; give its first command again"
    elif total[PENDING] or total[FAILED]:
        advice = f"go on with: rvtool collect --resume {folder}"
    else:
        advice = "complete" if complete else f"all is fetched; make the dataset with: rvtool collect --resume {folder}"
    console.print(advice, markup=False, highlight=False, soft_wrap=True)
    return {
        "dataset": str(folder),
        "complete": complete and not total[PENDING],
        "states": dict(total),
        "classes": {label or "": {s: counts.get((label, s), 0) for s in shown} for label in classes},
        "headline": f"{total[HAD]} images",
    }


def verify(folder: Path, console: Console) -> dict[str, Any]:
    """Compare every file with its checksum; what is damaged or missing is asked for again by ``--resume``.

    Raises
    ------
    DataError
        As `status`; or another process is collecting.
    """
    failures, checked = [], 0
    with contextlib.closing(Journal(folder)) as journal, counted(console, "verifying") as progress:
        total = sum(count for (_, state), count in journal.counts().items() if state == HAD)
        for target, sides in journal.images():
            checked += 1
            progress(checked, total)
            files = [*sides.values(), *(side["seen"]["pair"] for side in sides.values() if "pair" in side["seen"])]
            wrong = next((reason for file in files if (reason := _wrong(folder, file))), None)
            if wrong is not None:
                failures.append((next(iter(sides.values()))["number"], target.id, wrong))
        for number, _, _ in failures:
            journal.lose(number)
    console.print(f"{checked - len(failures)} of {checked} images are as they were", highlight=False)
    for _, name, reason in failures[:10]:
        console.print(f"{name}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if failures:
        console.print(
            f"{len(failures)} are asked for again by: rvtool collect --resume {folder}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return {
        "dataset": str(folder),
        "images": checked,
        "failures": [{"id": name, "reason": reason} for _, name, reason in failures],
        "headline": f"{checked} images verified, {len(failures)} damaged",
    }


def _wrong(folder: Path, file: dict[str, Any]) -> str | None:
    try:
        with open(folder / file["path"], "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"{file['path']} cannot be read ({error.strerror})"
    return None if found == file["sha256"] else f"{file['path']} has changed since it was fetched"
