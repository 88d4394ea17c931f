"""Bring the sources with a known bending angle of two folders together.

    python examples/bending_angles.py POOL CUTOUTS OUT

POOL holds pictures of sources and `bending_angles.csv` (file, label, ra_deg, dec_deg, fold, bending_angle_deg);
CUTOUTS holds FITS and `labels.csv` (file, label, ra_deg, dec_deg, bending_angle_deg where known, and pool_file, the
same source in POOL). A source that is in both is taken from POOL. Sources of CUTOUTS alone are dealt to the folds.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

COLUMNS = ("file", "label", "ra_deg", "dec_deg", "fold", "bending_angle_deg")


def read(table: Path) -> list[dict[str, str]]:
    """Read a table's rows."""
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def gather(pool: Path, cutouts: Path, out: Path) -> int:
    """Copy the images and write `labels.csv`; return how many sources there are."""
    found = [(pool / row["file"], row) for row in read(pool / "bending_angles.csv")]
    known = {row["file"] for _, row in found}
    folds = sorted({row["fold"] for _, row in found})
    alone = [r for r in read(cutouts / "labels.csv") if r["bending_angle_deg"] and r["pool_file"] not in known]
    for number, row in enumerate(alone):
        fold = row.get("pool_fold") or folds[number % len(folds)]
        found.append((cutouts / row["file"], {**row, "fold": fold}))
    out.mkdir(parents=True)
    with (out / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for path, row in found:
            shutil.copy(path, out / path.name)
            writer.writerow({**row, "file": path.name})
    return len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pool", "cutouts", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    print(gather(arguments.pool, arguments.cutouts, arguments.out), "sources with an angle in", arguments.out)
