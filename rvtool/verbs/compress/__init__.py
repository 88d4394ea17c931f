"""`rvtool compress`: FITS files to a fraction of their size, within an error that is given."""

from __future__ import annotations

from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from rvtool.compressed.error_bound import ErrorBound
from rvtool.config import Config
from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from rvtool.verbs.compress.work import How

STANDARD = "rice"  # what --compat takes
LEARNED = "learned"  # the codec of runs


class Settings(Config):
    """Settings of `rvtool compress`."""

    files: tuple[Path, ...] = Field(
        min_length=1,
        description="FITS files (also .gz, .bz2, .fz), or folders of them; '-' reads one from stdin and writes to "
        "stdout.",
    )
    max_error: str = Field(
        "0.25sigma",
        description="No pixel changes by more than this: in units of the image's own noise (0.25sigma), or a number in "
        "the unit of the image (1e-5); 'none' leaves it to a trained model. Integers are always kept exactly.",
    )
    lossless: bool = Field(False, description="Keep every pixel bit by bit, NaNs too, in place of --max-error.")
    compat: bool = Field(
        False,
        description="Write standard FITS (RICE_1) that DS9, CARTA, astropy and cfitsio read as it is; often twice as "
        "large. The same guarantees through 'rvtool decompress'; other readers see infinities as NaN, and the few "
        "pixels that FITS cannot keep within the bound as FITS has them.",
    )
    codec: str = Field(
        "predictive", description="How pixels are coded, or the run of an autoencoder; the default is the smallest."
    )
    config: dict[str, Any] = Field({}, description="Settings of the codec.")
    out: Path | None = Field(
        None,
        description="Where to write: a file, a folder for several, or ARCHIVE.rv.fits for all of them in one. Default: "
        "image.rv.fits beside each image.fits.",
    )
    overwrite: bool = Field(False, description="Replace files that exist, and make those anew that were done already.")
    workers: int = Field(
        0, ge=0, description="Threads that compress; the files are the same (0: one for each core). --compat takes one."
    )
    delete_source: bool = Field(
        False, description="Delete each source, once it is restored from what was written and all is as guaranteed."
    )
    watch: bool = Field(False, description="Go on compressing what is written into the folders, until Ctrl-C.")
    settle_s: float = Field(
        5.0, ge=0, description="With --watch, seconds without a change after which a file is taken for whole."
    )

    @field_validator("max_error", mode="before")
    @classmethod
    def _is_bound(cls, given: Any) -> str:
        text = str(given)  # a recipe may hold a number
        ErrorBound.parse(text)
        return text


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Compress files, going on after those that cannot be; the same call goes on where it was interrupted.

    Returns
    -------
    dict
        ``files``: for each its ``file``, ``out``, ``source_bytes``, ``out_bytes``, ``ratio``, ``bits_per_pixel`` and
        ``images``; ``already``: how many were done before; ``unfinished``: how many Ctrl-C has left; ``failures``: for
        each its ``file`` and ``error``, also written to ``failures.csv`` beside the outputs.

    Raises
    ------
    ConfigError
        A setting does not fit.
    RvtoolError
        The only file that is given cannot be compressed.
    """
    from rvtool.compressed.files import SUFFIX
    from rvtool.compressed.piped import PIPE
    from rvtool.verbs.compress import many, work

    how = _how(settings)
    if PIPE in settings.files:
        _check_pipe(settings)
        return work.compress_piped(settings.out, how, console)
    if settings.lossless and settings.max_error != Settings.model_fields["max_error"].default:
        raise ConfigError(f"--lossless keeps every bit; leave it out, or '--max-error {settings.max_error}'.")
    if settings.watch and settings.out is not None and settings.out.name.endswith(".rv.fits"):
        raise ConfigError(f"--watch writes a file for each; name a folder with --out, not {settings.out}.")
    if settings.watch:
        from rvtool.verbs.compress.watch import watch

        folders = [path for path in settings.files if path.is_dir()]
        if len(folders) < len(settings.files):
            raise ConfigError("--watch wants folders; name nothing else beside it.")
        return watch(folders, settings.out, settings.settle_s, how, console)
    several = len(settings.files) > 1 or settings.files[0].is_dir()
    if several and settings.out is not None and settings.out.name.endswith(SUFFIX) and not settings.out.is_dir():
        if settings.compat or settings.codec == STANDARD:
            raise ConfigError("An archive is no standard FITS image; leave --compat, or name a folder with --out.")
        return many.compress_archive(settings.files, settings.out, how, console)
    return many.compress_files(settings.files, settings.out, how, console)


def _how(settings: Settings) -> How:
    """Say how each file is compressed.

    Raises
    ------
    ConfigError
        There is no such codec, or a setting does not fit.
    """
    from rvtool.compressed.batch import cores
    from rvtool.kinds import FitsCodec
    from rvtool.plugins import component
    from rvtool.runs.run import is_run
    from rvtool.verbs.compress.work import How

    name = settings.codec
    if settings.compat:
        if name not in (STANDARD, Settings.model_fields["codec"].default):
            raise ConfigError(f"--compat is the codec '{STANDARD}'; leave out '--codec {name}', or --compat.")
        if settings.config and name != STANDARD:
            raise ConfigError(f"--compat takes no settings of '{name}'; say '--codec {STANDARD}' to set its own.")
        name = STANDARD
    config = settings.config
    if is_run(name):
        name, config = LEARNED, {"run": name, **config}
    chosen = component("codec", name)
    codec = chosen.load()(chosen.configure(config))
    bound = None if settings.lossless else ErrorBound.parse(settings.max_error)
    if bound and isinf(bound.value) and not getattr(codec, "unbounded", False):
        raise ConfigError(f"'{name}' keeps a bound whatever it is; give one with --max-error, or name a trained model.")
    return How(
        codec=codec,
        codec_name=name,
        bound=bound,
        overwrite=settings.overwrite,
        # what FITS itself defines is coded by astropy, which is not safe in threads, and would gain nothing by them
        workers=1 if isinstance(codec, FitsCodec) else settings.workers or cores(),
        delete_source=settings.delete_source,
    )


def _check_pipe(settings: Settings) -> None:
    if len(settings.files) > 1 or settings.watch or settings.delete_source:
        raise ConfigError("'-' is one file from stdin; leave other files, --watch and --delete-source.")
