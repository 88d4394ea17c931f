"""Which images a run may be judged on, and which of them it has seen: by split, by content, by place on the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rvtool.data.dataset import FALLBACK_GROUP_ARCMIN
from rvtool.errors import DataError
from rvtool.runs.unlike import unlike

if TYPE_CHECKING:
    from rvtool.data.batches import Material
    from rvtool.runs.run import Run

ANSWERING = ("classification", "regression")
"""Tasks whose truth is a label."""


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
    usable = _judgeable(run, material)
    mine = run.known.splits_of(material)
    own = 2 * np.count_nonzero(mine == "train") >= run.record["dataset"]["images"]["train"]
    parts = np.where(usable, mine if own else material.split, "")
    if split == "auto" and own:
        split = "test" if "test" in parts else "val"
    if split == "auto":
        rows, words = np.flatnonzero(usable & ~np.isin(mine, ("train", "val"))), "every image new to it"
    elif split == "all":
        rows, words = np.flatnonzero(usable), "every image"
    else:
        rows, words = np.flatnonzero(parts == split), f"the {split} part"
    if not rows.size:
        raise DataError(
            f"{dataset.root} has no {split} images that {run.name} can be judged on; choose another --split."
        )
    whose = "the run's own dataset" if own else "another dataset than the run learnt from"
    others = unlike(material.info.image, run.data.image, run.stretch.settings)
    differences = [one.told("The images", run.name) for one in others]
    said = _left_out(run, material) + differences + _seen(run, mine, rows) + _near(run, material, mine, rows)
    return rows, f"{words} of {dataset.root}, {whose}", said


def _judgeable(run: Run, material: Material) -> np.ndarray:
    """Tell which rows have a truth to judge against."""
    if run.data.target is not None:
        if material.target is None:
            raise DataError(
                f"{material.dataset.root} has no targets, so there is no truth to judge {run.name} against."
            )
        good: np.ndarray = material.image.good & material.target.good
        return good
    if run.task not in ANSWERING:
        return material.image.good
    if material.labels is None:
        raise DataError(
            f"{material.dataset.root} has no column '{run.data.label_column}', so there is no truth to judge "
            f"{run.name} against."
        )
    return material.image.good & material.labelled


def _seen(run: Run, mine: np.ndarray, rows: np.ndarray) -> list[str]:
    """Tell of judged images that the run has seen, whatever they are called now."""
    trained, chosen = (int((mine[rows] == part).sum()) for part in ("train", "val"))
    said = []
    if trained:
        said.append(
            f"{run.name} was trained on {trained} of the {len(rows)} judged images: the figures do not tell how it does"
            " on new ones."
        )
    if chosen:
        said.append(
            f"{chosen} of the {len(rows)} judged images chose which weights of {run.name} were kept, and set how sure"
            " it may be: the figures are somewhat too good."
        )
    return said


def _left_out(run: Run, material: Material) -> list[str]:
    """Tell of images that nobody can judge on."""
    said = []
    failures = {**(material.target.failures if material.target else {}), **material.image.failures}
    if failures:
        said.append(
            f"{len(failures)} images cannot be read and are not judged; the first: {next(iter(failures.values()))}"
        )
    if material.labels is None or run.task not in ANSWERING:
        return said
    unknown = int((~material.labelled).sum())
    if unknown and not run.data.classes:
        said.append(f"{unknown} images have no '{run.data.label_column}', so are not judged.")
    elif unknown:
        said.append(
            f"{unknown} images are of no class that {run.name} knows ({', '.join(run.data.classes)}), so not judged."
        )
    return said


def _near(run: Run, material: Material, mine: np.ndarray, rows: np.ndarray) -> list[str]:
    """Tell of judged images, new in their pixels, whose centre lies within a cutout's diagonal of a seen one's."""
    from astropy.coordinates import SkyCoord

    ra, dec = run.known.places("train", "val")
    if not ra.size or "ra_deg" not in material.dataset or "dec_deg" not in material.dataset:
        return []
    new = rows[~np.isin(mine[rows], ("train", "val", "test"))]
    here = np.stack([material.dataset.column(name)[new].astype(float) for name in ("ra_deg", "dec_deg")])
    here = here[:, np.isfinite(here).all(axis=0)]  # (2, n)
    if not here.size:
        return []
    side = run.data.image
    diagonal = np.hypot(side.height, side.width)  # px
    reach = side.pixel_arcsec * diagonal / 60 if side.pixel_arcsec else FALLBACK_GROUP_ARCMIN
    places, seen = SkyCoord(*here, unit="deg"), SkyCoord(ra, dec, unit="deg")
    near = int((places.match_to_catalog_sky(seen)[1].arcmin < reach).sum())
    if not near:
        return []
    return [f"{near} of the {len(rows)} judged images share sky with images that {run.name} was trained or chosen on."]
