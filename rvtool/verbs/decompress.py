"""`rvtool decompress`: the FITS file that was compressed, with its own header bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


class Settings(Config):
    """Settings of `rvtool decompress`."""

    file: Path = Field(description="File that 'rvtool compress' wrote.")
    out: Path | None = Field(None, description="FITS file to write. Default: image.fits beside image.rv.fits.")
    overwrite: bool = Field(False, description="Replace a file that exists.")


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Restore one file.

    Returns
    -------
    dict
        ``file``, ``out``, ``out_bytes``, and ``original_name``, the name of the file that was compressed.

    Raises
    ------
    ConfigError
        The file is not named ``*.rv.fits`` and no output is named.
    DataError
        The file was not made by rvtool, or is damaged; or the output exists or cannot be written.
    """
    from rvtool.data.container import SUFFIX, decompress_file

    file, out = settings.file, settings.out
    if out is None or out.is_dir():
        if not file.name.endswith(SUFFIX):
            raise ConfigError(f"{file} does not end in {SUFFIX}; say with --out which file to write.")
        out = (out or file.parent) / (file.name.removesuffix(SUFFIX) + ".fits")
    name = decompress_file(file, out, overwrite=settings.overwrite)
    size = out.stat().st_size
    console.print(f"{file} -> {out}: {size:,} bytes, of {name}", markup=False, highlight=False, soft_wrap=True)
    return {"file": str(file), "out": str(out), "out_bytes": size, "original_name": name}
