"""Bring pairs of NVSS and FIRST images on to grids that nest, over the field that both show.

    python examples/first_nvss_pairs.py FOLDER OUT [--pixel-arcsec 2.7] [--factor 1]

FOLDER holds FITS files and `labels.csv` (image, target: their paths; label, ra_deg, dec_deg; pool_fold where known).
OUT becomes a folder that `rvtool train --data` takes: `images/` (NVSS, interpolated), `targets/` (FIRST, averaged), and
`labels.csv` with a fold of five. With `--factor 4`, NVSS has pixels four times as large (its beam is 45 arcsec), which
`srgan` makes finer; with 1 both have one grid, as `pix2pix` wants it. Beams and units that the files do not tell are
those of the surveys.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

from rvtool.data.fits import Image
from rvtool.data.grid import finer
from rvtool.kinds import SourceInfo
from rvtool.plugins import component
from rvtool.verbs.collect.pairs import align, to_fits

FOLDS = 5


def info_of(name: str) -> SourceInfo:
    """Return what a survey knows of its images."""
    chosen = component("source", name)
    info: SourceInfo = chosen.load()(chosen.configure({})).info
    return info


def cut(image: Image, factor: int, side: int) -> Image:
    """Cut the lower left corner of an image to a square of `side` px, and average `factor` squared pixels to one."""
    channels = len(image.data)
    coarse = side // factor
    data = image.data[:, :side, :side].reshape(channels, coarse, factor, coarse, factor).mean(axis=(2, 4))
    header = image.header.copy()
    header.update(finer(image.wcs, 1 / factor).to_header(relax=True))
    return replace(image, data=data, _header=header)


def gather(folder: Path, out: Path, pixel_arcsec: float, factor: int) -> int:
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
            side = min(length // factor * factor for image in pair for length in image.data.shape[1:])
            pair = cut(pair[0], factor, side), cut(pair[1], 1, side)
            names = [f"{kind}/{paths[0].stem}.fits" for kind in ("images", "targets")]
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
    parser.add_argument("--factor", type=int, default=1)
    arguments = parser.parse_args()
    print(gather(arguments.folder, arguments.out, arguments.pixel_arcsec, arguments.factor), "pairs in", arguments.out)
