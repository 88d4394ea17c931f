"""`rvtool compress`: FITS files to a fraction of their size, within an error that is given, for any FITS reader."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import inf, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from rvtool.config import Config
from rvtool.errors import ConfigError, DataError, RvtoolError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.data.container import ErrorBound, FileReport

COARSE_SIGMA = 3  # a bound above this many times the noise is told
_BOUND = re.compile(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*(sigma)?\s*")


class Settings(Config):
    """Settings of `rvtool compress`."""

    files: tuple[Path, ...] = Field(min_length=1, description="FITS files to compress (also .gz, .bz2, .fz).")
    codec: str = Field("rice", description="Codec, see 'rvtool plugins --kind codec'.")
    config: dict[str, Any] = Field({}, description="Settings of the codec.")
    max_error: str = Field(
        "0.25sigma",
        description="Largest error of a pixel: in units of the image's own noise (0.25sigma), or a number in the unit "
        "of the image (1e-5). Integers are always kept exactly.",
    )
    lossless: bool = Field(False, description="Keep every pixel bit by bit.")
    out: Path | None = Field(
        None,
        description="Where to write: a file, or a folder for several. Default: image.rv.fits beside each image.fits.",
    )
    overwrite: bool = Field(False, description="Replace files that exist.")

    @field_validator("max_error", mode="before")
    @classmethod
    def _is_bound(cls, given: Any) -> str:
        text = str(given)  # a recipe may hold a number
        match = _BOUND.fullmatch(text)
        if not match or not 0 < float(match[1]) < inf:
            raise ValueError("give a positive number with or without 'sigma', such as 0.25sigma or 1e-5")
        return text


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Compress files, going on after those that cannot be.

    Returns
    -------
    dict
        ``files``: for each its ``file``, ``out``, ``source_bytes``, ``out_bytes``, ``ratio``, ``bits_per_pixel`` and
        ``images``; ``failures``: for each its ``file`` and ``error``, also written to ``failures.csv`` beside the
        outputs.

    Raises
    ------
    ConfigError
        A setting does not fit.
    RvtoolError
        The only file that is given cannot be compressed.
    """
    from rvtool.data.container import compress_file
    from rvtool.plugins import component, version_of

    _refuse_run(settings.codec)
    chosen = component("codec", settings.codec)
    codec = chosen.load()(chosen.configure(settings.config))
    codec_name = f"{settings.codec} ({version_of('codec', settings.codec)})"
    bound = None if settings.lossless else _bound(settings.max_error)

    outputs = _outputs(settings)
    done: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    taken: dict[Path, Path] = {}
    for file, out in outputs:
        try:
            if out in taken:
                raise DataError(
                    f"{file} would be written to {out}, as {taken[out]} is; compress it on its own with --out."
                )
            taken[out] = file
            report = compress_file(file, out, codec, bound, codec_name, overwrite=settings.overwrite)
        except RvtoolError as error:
            if len(settings.files) == 1:
                raise
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            failures.append({"file": str(file), "error": str(error)})
            continue
        _tell(report, console)
        done.append(_plain(report))
    if failures:
        _write_failures(failures, outputs[0][1].parent / "failures.csv", console)
    before, after = (sum(file[size] for file in done) for size in ("source_bytes", "out_bytes"))
    headline = f"{before / after:.2f} : 1" if after else "nothing compressed"
    return {"files": done, "failures": failures, "headline": headline}


def _refuse_run(name: str) -> None:
    """Say of a run why it cannot stand for a codec."""
    from rvtool.plugins import component, components
    from rvtool.runs.run import is_run, load_run

    if not is_run(name):
        return
    run = load_run(name)
    kind = component("model", run.record["model"]).load()
    able = hasattr(kind, "encode") and hasattr(kind, "decode")
    why = "with which this version cannot compress yet" if able else "which is no autoencoder"
    raise ConfigError(
        f"{run.path} is a run of '{run.record['model']}', {why}; name a codec ({', '.join(components('codec'))})."
    )


def _bound(text: str) -> ErrorBound:
    from rvtool.data.container import ErrorBound

    match = _BOUND.fullmatch(text)
    assert match  # the settings were validated
    return ErrorBound(float(match[1]), in_sigma=match[2] is not None)


def _outputs(settings: Settings) -> list[tuple[Path, Path]]:
    """Return each file with the file to write."""
    from rvtool.data.container import SUFFIX
    from rvtool.data.fits import suffix_of

    out = settings.out
    if out is not None and len(settings.files) == 1 and not out.is_dir():
        return [(settings.files[0], out)]
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder for the {len(settings.files)} files.")
    stems = [file.name[: len(file.name) - len(suffix_of(file) or "")] for file in settings.files]
    return [(file, (out or file.parent) / (stem + SUFFIX)) for file, stem in zip(settings.files, stems, strict=True)]


def _tell(report: FileReport, console: Console) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(
        f"{report.source} -> {report.out}: {report.source_bytes:,} -> {report.out_bytes:,} bytes, "
        f"ratio {report.ratio:.2f}, {report.bits_per_pixel:.2f} bits/pixel"
    )
    for image in report.images:
        noise, bound, error = (f"{v:.4g} {image.unit}".rstrip() for v in (image.sigma, image.bound, image.max_error))
        facts = [] if isnan(image.sigma) else [f"noise {noise}"]
        if image.bound:
            facts += [f"bound {bound}", f"largest error {error}"]
            if image.bound > COARSE_SIGMA * image.sigma > 0:
                times = f"{image.bound / image.sigma:.3g} times the noise"
                say(f"Mind: the bound is {times}; was '--max-error Nsigma' meant?")
        else:
            facts += ["every pixel exact" + (f" ({image.note})" if image.note else "")]
        say(f"  HDU {image.hdu}, {' x '.join(map(str, image.shape))}, BITPIX {image.bitpix}: {', '.join(facts)}")


def _plain(report: FileReport) -> dict[str, Any]:
    images = [
        {**asdict(image), "shape": list(image.shape), "sigma": None if isnan(image.sigma) else image.sigma}
        for image in report.images
    ]
    return {
        "file": str(report.source),
        "out": str(report.out),
        "source_bytes": report.source_bytes,
        "out_bytes": report.out_bytes,
        "ratio": report.ratio,
        "bits_per_pixel": report.bits_per_pixel,
        "images": images,
    }


def _write_failures(failures: list[dict[str, str]], path: Path, console: Console) -> None:
    from rvtool.report.tables import write_csv

    write_csv(path, ("file", "error"), (failure.values() for failure in failures))
    console.print(f"Not compressed: {len(failures)}, see {path}", markup=False, highlight=False, soft_wrap=True)
