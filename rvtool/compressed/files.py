"""One FITS file to a compressed one and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from rvtool.compressed.bounds import ErrorBound
from rvtool.compressed.coding import StoredImage
from rvtool.compressed.container import is_tiled, read_tiled, write_tiled
from rvtool.compressed.headers import cutout_header
from rvtool.compressed.pixels import HeldImage, Pixels
from rvtool.compressed.record import find_record, open_tiled
from rvtool.compressed.reports import FileReport, ImageReport
from rvtool.compressed.standard import StandardUnit, read_standard, write_standard
from rvtool.compressed.stored import Job, StoredUnit, with_rest
from rvtool.compressed.tiles import Box, Grid, Region, parse_region, size_of, whole
from rvtool.data.files import writing
from rvtool.data.units import BLOCK, Unit, open_units, units_of, untiled_header
from rvtool.errors import DataError, PluginError
from rvtool.kinds import Codec, FitsCodec

__all__ = [
    "SUFFIX",
    "ErrorBound",
    "FileReport",
    "ImageReport",
    "Region",
    "compress_file",
    "decompress_file",
    "parse_region",
]

SUFFIX = ".rv.fits"

Progress = Callable[[int], None]
"""Told how many bytes of the file that is read have been done since it was told last; all of them in the end."""


def compress_file(
    source: Path,
    out: Path,
    codec: Any,
    bound: ErrorBound | None,
    codec_name: str,
    *,
    overwrite: bool = False,
    threads: int = 1,
    progress: Progress | None = None,
) -> FileReport:
    """Compress every image of a FITS file, check every pixel of what was written, and only then give it its name.

    Parameters
    ----------
    source
        A FITS file, plain, packed by gzip or bzip2, or tile-compressed (whose images are compressed anew).
    codec
        A `Codec`, or a `FitsCodec` for a file that any FITS reader decodes.
    bound
        None keeps every pixel bit by bit. Integers always are.
    codec_name
        Name of the component, by which a `Codec` is found again.
    threads
        That encode tiles; the bytes are the same for any number.

    Raises
    ------
    DataError
        The source is no FITS, is broken, holds no image or is compressed already; or `out` exists or cannot be written.
    PluginError
        The codec does not keep its contract.
    """
    _refuse_other(codec, codec_name)
    with plain_units(source) as given, written(out, source, overwrite) as file:
        units = given if isinstance(codec, FitsCodec) else with_rest(given)
        step = steps(progress, source, sum(unit.data_end - unit.data_start for unit in units))
        if isinstance(codec, FitsCodec):
            images = write_standard(
                file, units, source.name, codec=codec, codec_name=codec_name, bound=bound, step=step
            )
        else:
            images = write_tiled(file, units, source.name, Job(codec, codec_name, bound, threads, step))
    return FileReport(source, out, source.stat().st_size, out.stat().st_size, images)


def decompress_file(
    source: Path,
    out: Path,
    *,
    overwrite: bool = False,
    threads: int = 1,
    region: Region | None = None,
    progress: Progress | None = None,
) -> str:
    """Write the FITS file that was compressed: its own header bytes, its data within the bound.

    Parameters
    ----------
    region
        Write only this part, of the first image that the file holds, as a FITS file of its own: its size and reference
        pixel changed in the header, every other card as it was. Only the tiles that it touches are decoded.

    Returns
    -------
    str
        The name that the file had.

    Raises
    ------
    DataError
        The source was not made by rvtool, or is damaged, or has no such region; or `out` exists or cannot be written.
    """
    with open_units(source) as stored:
        name, units = read_compressed(stored, source)
        if region is not None:
            image = next((unit.image for unit in units if unit.image), None)
            if image is None:
                raise DataError(f"{source} holds no image to take a region from.")
            box = region.box(image.shape, str(source))
            with written(out, source, overwrite) as file:
                file.write(cutout_header(image.header, box))
                _write_pixels(
                    file, image, box, threads, steps(progress, source, prod(size_of(box)) * image.dtype.itemsize)
                )
                file.write(b"\0" * (-file.tell() % BLOCK))
            return name
        work = sum(unit.image.nbytes for unit in units if unit.image)
        with written(out, source, overwrite) as file:
            write_units(file, units, threads, steps(progress, source, work))
    return name


def read_compressed(units: Sequence[Unit], path: Path) -> tuple[str, tuple[StoredUnit | StandardUnit, ...]]:
    """Return the name of the source of a compressed file and its HDUs.

    Raises
    ------
    DataError
        The file was not made by rvtool, or is damaged.
    """
    if "RVKIND" in units[0].values:
        raise DataError(f"{path} is an archive; name the files that are to be taken out of it (--only NAME).")
    if is_tiled(units):
        return read_tiled(units, path)
    record = find_record(units)
    if record is None:
        raise DataError(f"{path} was not made by 'rvtool compress'; only its files can be decompressed.")
    return read_standard(units, record, path)


@contextmanager
def plain_units(path: Path) -> Iterator[list[Unit]]:
    """Open a FITS file as the units that are to be compressed, those that another program tile-compressed unpacked.

    Raises
    ------
    DataError
        The file is no FITS, is broken, holds no image or was compressed by rvtool.
    """
    with open_units(path) as given:
        if is_tiled(given) or find_record(given):
            raise DataError(f"{path} was compressed by rvtool already; decompress it first.")
        with TemporaryFile() as unpacked:
            units = _untiled(given, unpacked, path) if any(unit.is_tiled for unit in given) else given
            if not any(unit.is_image for unit in units):
                raise DataError(f"{path} holds no image of two or more axes; leave it out.")
            yield units


def _untiled(units: Sequence[Unit], file: IO[bytes], path: Path) -> list[Unit]:
    """Write the file that was tile-compressed by another program, as funpack would, and return its units."""
    # an image that was primary before it was compressed takes the place of the empty primary before it
    first = int(len(units) > 1 and "ZSIMPLE" in units[1].values and units[0].data_start == units[0].data_end)
    for number, unit in enumerate(units[first:]):
        if unit.is_tiled:
            header = untiled_header(unit.header, primary=number == 0)
            file.write(header)
            with open_tiled(unit, path) as hdu:
                kind = Unit(file, 0, 0, 0, header)
                target = Pixels(file, file.tell(), kind.shape, kind.dtype)
                slab = (*hdu.tile_shape[:-1], target.shape[-1])
                grid = Grid(target.shape, slab)
                for box in map(grid.box, range(grid.count)):
                    target.write(box, hdu.section[box])
            file.seek(target.start + target.nbytes)
            file.write(b"\0" * (-file.tell() % BLOCK))
        else:
            file.write(unit.header + unit.data + unit.padding)
    return units_of(file, path)


def write_units(
    file: IO[bytes], units: Sequence[StoredUnit | StandardUnit], threads: int, step: Callable[[int], None]
) -> None:
    """Write the HDUs of a source as they stood there; `step` is told of bytes of pixels."""
    for unit in units:
        file.write(unit.header)
        if unit.image:
            _write_pixels(file, unit.image, whole(unit.image.shape), threads, step)
        else:
            file.writelines(unit.data())
        file.write(unit.padding)


def _write_pixels(
    file: IO[bytes], image: StoredImage | HeldImage, box: Box, threads: int, step: Callable[[int], None]
) -> None:
    target = Pixels(file, file.tell(), size_of(box), image.dtype)
    for place, part in image.parts(box, threads):
        target.write(place, part)
        step(part.nbytes)
        del part  # before the next one is decoded
    file.seek(target.start + target.nbytes)


@contextmanager
def written(out: Path, source: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    """Open the output as `writing` does, but never over the source, nor over another file unless that is allowed."""
    if out.exists() and out.samefile(source):
        raise DataError(f"{out} is the file that is read; name another with --out.")
    if out.exists() and not overwrite:
        raise DataError(f"{out} exists already; remove it, name another with --out, or allow it with --overwrite.")
    try:
        with writing(out) as file:
            yield file
    except DataError as error:
        if isinstance(error.__cause__, OSError):
            raise DataError(f"{str(error).rstrip('.')}; {source} is untouched.") from error
        raise


def _refuse_other(codec: Any, name: str) -> None:
    if not isinstance(codec, Codec | FitsCodec):
        raise PluginError(f"Codec {name} has neither encode_hdu nor tile_shape, encode and decode; take another.")


def steps(progress: Progress | None, source: Path, work: int) -> Progress:
    """Turn bytes of data that are done, of `work` in all, into bytes of the file on disk, which may be packed."""
    size, done, told = source.stat().st_size, 0, 0

    def step(count: int) -> None:
        nonlocal done, told
        done += count
        now = size * done // work
        if progress and now > told:
            progress(now - told)
            told = now

    return step
