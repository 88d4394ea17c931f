"""Bring pairs of NVSS and FIRST images on to grids that nest, over the field that both show.

    python examples/first_nvss_pairs.py FOLDER OUT [--side 16] [--factor 8]

FOLDER holds FITS files and `labels.csv` (image, target: their paths; label, ra_deg, dec_deg; pool_fold where known).
OUT becomes a folder that `rvtool train --data` takes: `images/` (the middle of NVSS, its own pixels), `targets/` (FIRST
on pixels so many times as fine), and `labels.csv` with a fold of five. Beams and units that the files do not tell are
those of the surveys.

SkyView makes NVSS cutouts of the nearest pixels, which displaces each by up to half a pixel, 7.5 arcsec, on either
axis. Each is moved by so much as brings it on FIRST seen with NVSS's beam.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.fft import fft2, ifft2

from rvtool.data.beams import covariance
from rvtool.data.fits import Image
from rvtool.data.grid import finer
from rvtool.kinds import SourceInfo
from rvtool.plugins import component
from rvtool.report.detections import summits
from rvtool.verbs.collect.pairs import described, onto, placed, to_fits

FOLDS = 5


def info_of(name: str) -> SourceInfo:
    """Return what a survey knows of its images."""
    chosen = component("source", name)
    info: SourceInfo = chosen.load()(chosen.configure({})).info
    return info


def moved(nvss: Image, first: Image, factor: int) -> Image:
    """Return the first image with its coordinates moved on to those of the second, by half a pixel at most."""
    fine = onto(first, finer(nvss.wcs, factor), tuple(factor * side for side in nvss.data.shape[-2:]))
    pixel_arcsec = float(nvss.pixel_arcsec or 0)
    wider = covariance(nvss.beam).xx - covariance(first.beam).xx
    sigma = np.sqrt(wider) * factor / pixel_arcsec
    seen = ndimage.gaussian_filter(np.nan_to_num(fine.data[0]), sigma, mode="constant")
    large = ndimage.zoom(np.nan_to_num(nvss.data[0]), factor, order=3, mode="grid-constant", grid_mode=True)
    correlation = np.fft.fftshift(ifft2(fft2(seen) * fft2(large).conj()).real)
    reach = factor // 2 + 1
    near = correlation[tuple(slice(side // 2 - reach, side // 2 + reach + 1) for side in correlation.shape)]
    up, across = (summits(near[None], np.ones((1, *near.shape), bool))[0] - reach) / factor
    header = nvss.header.copy()
    for axis, shift in ((1, across), (2, up)):
        header[f"CRPIX{axis}"] -= np.clip(shift, -0.5, 0.5)
    return replace(nvss, _header=header)


def middle(image: Image, side: int) -> Image:
    """Return the central square of an image."""
    top, left = ((length - side) // 2 for length in image.data.shape[-2:])
    header = image.header.copy()
    header["CRPIX1"] -= left
    header["CRPIX2"] -= top
    return replace(image, data=image.data[:, top : top + side, left : left + side], _header=header)


def gather(folder: Path, out: Path, side: int, factor: int) -> int:
    """Bring every pair together; return how many there are."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    infos = info_of("nvss"), info_of("first")
    for kind in ("images", "targets"):
        (out / kind).mkdir(parents=True)
    with (out / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("image", "target", "label", "ra_deg", "dec_deg", "fold"))
        writer.writeheader()
        for number, row in enumerate(rows):
            place = (float(row["ra_deg"]), float(row["dec_deg"]))
            nvss, first = (
                placed(folder / row[kind], place, info) for kind, info in zip(("image", "target"), infos, strict=True)
            )
            nvss = middle(moved(nvss, first, factor), side)
            fine = finer(nvss.wcs, factor)
            target = onto(first, fine, (factor * side, factor * side))
            name = f"{Path(row['image']).stem}.fits"
            (out / "images" / name).write_bytes(to_fits(described(nvss, nvss.wcs)))
            (out / "targets" / name).write_bytes(to_fits(described(target, fine)))
            kept = {key: row[key] for key in ("label", "ra_deg", "dec_deg")}
            fold = row.get("pool_fold") or str(number % FOLDS)
            writer.writerow({"image": f"images/{name}", "target": f"targets/{name}", **kept, "fold": fold})
    return len(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--factor", type=int, default=8)
    given = parser.parse_args()
    print(gather(given.folder, given.out, given.side, given.factor), "pairs in", given.out)
