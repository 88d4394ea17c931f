"""Bring pairs of NVSS and FIRST images on to one grid over the field that both show.

    python examples/first_nvss_pairs.py FOLDER OUT [--pixel-arcsec 2.7]

FOLDER holds FITS files and `labels.csv` (image, target: their paths; label, ra_deg, dec_deg; pool_fold where known).
OUT becomes a folder that `rvtool train --data` takes: `images/` (NVSS, interpolated), `targets/` (FIRST, averaged), and
`labels.csv` with a fold of five. Beams and units that the files do not tell are those of the surveys.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from rvtool.kinds import SourceInfo
from rvtool.plugins import component
from rvtool.verbs.collect.pairs import align, to_fits

FOLDS = 5


def info_of(name: str) -> SourceInfo:
    """Return what a survey knows of its images."""
    chosen = component("source", name)
    info: SourceInfo = chosen.load()(chosen.configure({})).info
    return info


def gather(folder: Path, out: Path, pixel_arcsec: float) -> int:
    """Align every pair; return how many there are."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    infos = (info_of("nvss"), info_of("first"))
    for side in ("images", "targets"):
        (out / side).mkdir(parents=True)
    with (out / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("image", "target", "label", "ra_deg", "dec_deg", "fold"))
        writer.writeheader()
        for number, row in enumerate(rows):
            place = (float(row["ra_deg"]), float(row["dec_deg"]))
            paths = (folder / row["image"], folder / row["target"])
            pair = align(*paths, place=place, pixel_arcsec=pixel_arcsec, infos=infos)
            names = [f"{side}/{paths[0].stem}.fits" for side in ("images", "targets")]
            for name, image in zip(names, pair, strict=True):
                (out / name).write_bytes(to_fits(image))
            kept = {name: row[name] for name in ("label", "ra_deg", "dec_deg")}
            fold = row.get("pool_fold") or str(number % FOLDS)
            writer.writerow({"image": names[0], "target": names[1], **kept, "fold": fold})
    return len(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pixel-arcsec", type=float, default=2.7)
    arguments = parser.parse_args()
    print(gather(arguments.folder, arguments.out, arguments.pixel_arcsec), "pairs in", arguments.out)
