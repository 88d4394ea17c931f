"""Bring pairs of NVSS and FIRST images on to grids that nest, over the field that both show.

    python examples/first_nvss_pairs.py FOLDER OUT [--pixel-arcsec 2.7] [--factor 1] [--register]

FOLDER holds FITS files and `labels.csv` (image, target: their paths; label, ra_deg, dec_deg; pool_fold where known).
OUT becomes a folder that `rvtool train --data` takes: `images/` (NVSS, interpolated), `targets/` (FIRST, averaged), and
`labels.csv` with a fold of five. With `--factor 4`, NVSS has pixels four times as large (its beam is 45 arcsec), which
`srgan` makes finer; with 1 both have one grid, as `pix2pix` wants it. Beams and units that the files do not tell are
those of the surveys.

SkyView resamples NVSS by the nearest pixel, which displaces each cutout by up to 7.5 arcsec on either axis. With
`--register`, NVSS is moved by so much as brings it on FIRST seen with NVSS's beam.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from astropy.io import fits
from scipy import ndimage
from scipy.fft import fft2, ifft2

from rvtool.data.beams import covariance
from rvtool.data.fits import Image
from rvtool.data.grid import finer
from rvtool.kinds import SourceInfo
from rvtool.plugins import component
from rvtool.report.detections import summits
from rvtool.verbs.collect.pairs import align, to_fits

FOLDS = 5
MOST_ARCSEC = 7.5  # half a pixel of NVSS


def info_of(name: str) -> SourceInfo:
    """Return what a survey knows of its images."""
    chosen = component("source", name)
    info: SourceInfo = chosen.load()(chosen.configure({})).info
    return info


def registered(paths: tuple[Path, Path], pair: tuple[Image, Image], pixel_arcsec: float, folder: Path) -> Path:
    """Write a copy of the first of two aligned images, moved by as much as brings it on the second; return its path."""
    beams = [covariance(image.beam) for image in pair]
    sigma = np.sqrt(beams[0].xx - beams[1].xx) / pixel_arcsec
    known = np.isfinite(pair[0].data[0]) & np.isfinite(pair[1].data[0])
    wide, fine = (np.where(known, image.data[0], 0) for image in pair)
    product = fft2(ndimage.gaussian_filter(fine, sigma, mode="constant")) * fft2(wide).conj()
    correlation = np.fft.fftshift(ifft2(product).real)
    middle = np.array(correlation.shape) // 2
    reach = int(MOST_ARCSEC / pixel_arcsec + 1)
    near = correlation[tuple(slice(m - reach, m + reach + 1) for m in middle)]
    moved = (summits(near[None], np.ones((1, *near.shape), bool))[0] - reach) * pixel_arcsec  # up and across, arcsec
    moved = np.clip(moved, -MOST_ARCSEC, MOST_ARCSEC)
    copy = folder / paths[0].name
    with fits.open(paths[0]) as hdus:
        for axis, shift in ((1, moved[1]), (2, moved[0])):
            hdus[0].header[f"CRPIX{axis}"] -= shift / abs(hdus[0].header[f"CDELT{axis}"] * 3600)
        hdus.writeto(copy, overwrite=True)
    return copy


def cut(image: Image, factor: int, side: int) -> Image:
    """Cut the lower left corner of an image to a square of `side` px, and average `factor` squared pixels to one."""
    channels = len(image.data)
    coarse = side // factor
    data = image.data[:, :side, :side].reshape(channels, coarse, factor, coarse, factor).mean(axis=(2, 4))
    header = image.header.copy()
    header.update(finer(image.wcs, 1 / factor).to_header(relax=True))
    return replace(image, data=data, _header=header)


def gather(folder: Path, out: Path, pixel_arcsec: float, factor: int, register: bool) -> int:
    """Align every pair; return how many there are."""
    with (folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    infos = (info_of("nvss"), info_of("first"))
    for side in ("images", "targets"):
        (out / side).mkdir(parents=True)
    with TemporaryDirectory() as scratch, (out / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("image", "target", "label", "ra_deg", "dec_deg", "fold"))
        writer.writeheader()
        for number, row in enumerate(rows):
            place = (float(row["ra_deg"]), float(row["dec_deg"]))
            paths = (folder / row["image"], folder / row["target"])
            pair = align(*paths, place=place, pixel_arcsec=pixel_arcsec, infos=infos)
            if register:
                moved = registered(paths, pair, pixel_arcsec, Path(scratch))
                pair = align(moved, paths[1], place=place, pixel_arcsec=pixel_arcsec, infos=infos)
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
    parser.add_argument("--register", action="store_true")
    arguments = parser.parse_args()
    print(
        gather(arguments.folder, arguments.out, arguments.pixel_arcsec, arguments.factor, arguments.register),
        "pairs in",
        arguments.out,
    )
