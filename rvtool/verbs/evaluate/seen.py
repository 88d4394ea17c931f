"""Which images a run may be judged on, and which of them it has seen: by split, by content, by place on the sky."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from rvtool.data.dataset import FALLBACK_GROUP_ARCMIN
from rvtool.errors import DataError

if TYPE_CHECKING:
    from rvtool.data.batches import Material
    from rvtool.runs.run import Run


def choose_rows(run: Run, material: Material, split: str) -> tuple[np.ndarray, str, list[str]]:
    """Choose the rows to judge on.

    Parameters
    ----------
    split
        ``"train"``, ``"val"``, ``"test"``, ``"all"``, or ``"auto"``: of the run's own dataset what it held out as
        test (else as validation), of another dataset everything.

    Returns
    -------
    Rows of the manifest, what they are in words, and warnings.

    Raises
    ------
    DataError
        There is no label to judge against, or no image in that split.
    """
    dataset = material.dataset
    if material.labels is None:
        raise DataError(
            f"{dataset.root} has no column '{run.data.label_column}', so there is no truth to judge {run.name} against."
        )
    own = run.owns(material)
    parts = material.split
    warnings = _left_out(run, material)
    if split == "auto":
        split = "all" if not own else "test" if "test" in parts else "val"
    rows = np.flatnonzero(parts == split) if split != "all" else np.flatnonzero(parts != "")
    if not rows.size:
        raise DataError(
            f"{dataset.root} has no {split} images that {run.name} can be judged on; choose another --split."
        )
    words = "every image" if split == "all" else f"the {split} part"
    if own:
        trained, chosen = (int((parts[rows] == part).sum()) for part in ("train", "val"))
        if trained:
            warnings.append(
                f"{run.name} was trained on {trained} of the {len(rows)} judged images: the figures do not tell how"
                " it does on new ones."
            )
        if chosen:
            warnings.append(
                f"{chosen} of the {len(rows)} judged images chose which weights of {run.name} were kept: the figures"
                " are somewhat too good."
            )
        return rows, f"{words} of {dataset.root}, the run's own dataset", warnings
    return (
        rows,
        f"{words} of {dataset.root}, another dataset than the run learnt from",
        warnings + _overlap(run, material, rows),
    )


def _left_out(run: Run, material: Material) -> list[str]:
    """Tell of images that nobody can judge on."""
    said = []
    failures = material.image.failures
    if failures:
        said.append(
            f"{len(failures)} images cannot be read and are not judged; the first: {next(iter(failures.values()))}"
        )
    assert material.labels is not None
    unknown = int((material.labels < 0).sum())
    if unknown:
        said.append(
            f"{unknown} images are of no class that {run.name} knows ({', '.join(run.data.classes)}), so not judged."
        )
    return said


def _overlap(run: Run, material: Material, rows: np.ndarray) -> list[str]:
    """Look for the run's training and validation images among those of another dataset."""
    try:
        trained = run.material()
    except DataError:
        return [
            f"What {run.name} was trained on ({run.record['dataset']['path']}) is not here, so nobody can tell whether"
            " it has seen some of these images."
        ]
    seen = trained.rows("train", "val")
    said = []
    contents = set(_contents(trained, seen))
    same = sum(content in contents for content in _contents(material, rows))
    if same:
        said.append(
            f"{same} of the {len(rows)} judged images are, pixel by pixel, images that {run.name} was trained or chosen"
            " on."
        )
    near = _near(run, material, rows, trained, seen)
    if near > same:
        said.append(
            f"{near} of the {len(rows)} judged images share sky with images that {run.name} was trained or chosen on."
        )
    return said


def _contents(material: Material, rows: np.ndarray) -> Iterator[bytes]:
    """Hash the pixels of each row, as the model sees them before the stretch."""
    for row in rows:
        pixels = material.image.pixels[row].astype(np.float32)
        yield hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()


def _near(run: Run, material: Material, rows: np.ndarray, trained: Material, seen: np.ndarray) -> int:
    """Count rows whose centre lies within a cutout's side of a seen one's."""
    from astropy.coordinates import SkyCoord

    def places(of: Material, some: np.ndarray) -> SkyCoord | None:
        if not {"ra_deg", "dec_deg"} <= set(of.dataset.table.column_names):
            return None
        ra, dec = (of.dataset.column(name)[some].astype(float) for name in ("ra_deg", "dec_deg"))
        known = np.isfinite(ra) & np.isfinite(dec)
        return SkyCoord(ra[known], dec[known], unit="deg") if known.any() else None

    judged, known = places(material, rows), places(trained, seen)
    if judged is None or known is None:
        return 0
    side = run.data.image
    reach = side.pixel_arcsec * max(side.height, side.width) / 60 if side.pixel_arcsec else FALLBACK_GROUP_ARCMIN
    return int((judged.match_to_catalog_sky(known)[1].arcmin < reach).sum())
