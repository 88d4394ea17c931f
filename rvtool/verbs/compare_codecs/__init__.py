"""`rvtool compare-codecs`: what each codec makes of an image, in bytes, in time, and in faint flux."""

from __future__ import annotations

from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.compressed.error_bound import ErrorBound
from rvtool.config import Config
from rvtool.errors import ConfigError, DataError, PluginError

if TYPE_CHECKING:
    from rich.console import Console


LEARNED = "learned"  # the codec of runs
LOSSLESS = "lossless"


class Settings(Config):
    """Settings of `rvtool compare-codecs`."""

    images: tuple[Path, ...] = Field(min_length=1, description="FITS images to judge on.")
    codec: tuple[str, ...] = Field(
        (), description="Codec to judge, or a run; repeat the option for others. Default: all that are installed."
    )
    set: dict[str, Any] = Field({}, description="Settings of codecs, as codec.rice.tile_pixels=64.")
    max_error: tuple[str, ...] = Field(
        ("0.25sigma",),
        description="Largest error of a pixel, as in 'rvtool compress'; repeat the option for others.",
    )
    lossless: bool = Field(False, description="Judge them bit by bit, too.")
    gate: bool = Field(
        True, description="Put faint sources in and rank no codec that loses their flux; takes most of the time."
    )
    repeats: int = Field(5, ge=1, le=100, description="Times of which the median is told; fewer where they are long.")
    out: Path | None = Field(None, description="Folder for table.csv, comparison.json and rate-distortion plots.")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Judge codecs, and rank those that pass the gate by the size of their files.

    A codec passes if every pixel is within the bound, blank pixels and header come back, 2,500 sources of 0.3 sigma
    stack to 1 +- 0.02 of their flux, and the noise grows no more than by the quantiser's own. Times are those of coding
    in memory, one thread.

    Returns
    -------
    dict
        ``results``: a record for each image, bound and codec, in the order of the tables (the ranked first; their
        ``failures`` are empty); ``left_out``: codecs that cannot be used here, and why; ``out``.

    Raises
    ------
    ConfigError
        A codec, one of its settings or a bound is wrong.
    DataError
        An image cannot be read.
    """
    from rvtool.verbs.compare_codecs import tell
    from rvtool.verbs.compare_codecs.judge import judge, subject_of

    bounds: list[tuple[str, ErrorBound | None]] = [(text, _bound(text)) for text in settings.max_error]
    if settings.lossless:
        bounds.append((LOSSLESS, None))
    if settings.out is not None and settings.out.exists() and not settings.out.is_dir():
        raise ConfigError(f"--out {settings.out} is a file; name a folder.")
    codecs, left_out = _codecs(settings)
    for name, why in left_out.items():
        console.print(f"Left out: {name}. {why}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    verdicts = []
    for path in settings.images:
        subject = subject_of(path)
        for asked, bound in bounds:
            with console.status(f"{path.name}, {asked}") as status:
                found = []
                for name, codec in codecs.items():
                    status.update(f"{path.name}, {asked}: {name}")
                    found.append(
                        judge(subject, name, codec, asked, bound, repeats=settings.repeats, gate=settings.gate)
                    )
            found = tell.ranked(found)
            tell.show(found, console)
            verdicts += found
    if len(settings.images) > 1:
        tell.show_totals(verdicts, console)
    if settings.out is not None:
        tell.write(verdicts, settings.out, console)
    return {
        "results": [tell.plain(verdict) for verdict in verdicts],
        "left_out": left_out,
        "out": str(settings.out) if settings.out else None,
        "headline": tell.headline(verdicts),
    }


def _bound(text: str) -> ErrorBound:
    try:
        bound = ErrorBound.parse(text)
    except ValueError as error:
        raise ConfigError(f"--max-error '{text}': {error}.") from None
    if isinf(bound.value):
        raise ConfigError(
            "Codecs are compared within a bound; 'rvtool evaluate RUN' judges what codes alone bring back."
        )
    return bound


def _codecs(settings: Settings) -> tuple[dict[str, Any], dict[str, str]]:
    """Build the codecs that are asked for, or all that can be built; and say of the others why they cannot."""
    from rvtool.plugins import component, components
    from rvtool.runs.run import is_run

    given = settings.set.get("codec", {})
    names = dict.fromkeys(settings.codec or components("codec"))
    for kind in settings.set:
        if kind != "codec":
            raise ConfigError(f"--set {kind}: only settings of codecs can be given here, as codec.rice.tile_pixels=64.")
    for name in given:
        if name not in names:
            raise ConfigError(f"--set codec.{name}: '{name}' is not compared; name it with --codec.")
    codecs, left_out = {}, {}
    for name in names:
        chosen, own = (component("codec", LEARNED), {"run": name}) if is_run(name) else (component("codec", name), {})
        config = chosen.configure({**own, **given.get(name, {})})
        try:
            codecs[name] = chosen.load()(config)
        except (PluginError, DataError) as error:  # a library, or a run, is missing
            if settings.codec:
                raise
            left_out[name] = str(error)
    return codecs, left_out
