"""Archives: each file comes back, by its name alone, and costs less than on its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from rvtool.compressed.archive import extract, list_archive, open_archive, write_archive
from rvtool.compressed.files import ErrorBound, compress_file, decompress_file
from rvtool.compressed.members import row_type
from rvtool.data.units import card, open_units
from rvtool.errors import ConfigError, DataError, PluginError
from rvtool_plugins.codecs.standard import RiceConfig
from rvtool_plugins.codecs.standard.codec import RiceCodec

Make = Callable[..., bytes]


@pytest.fixture
def sources(tmp_path: Path, fits_bytes: Make) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for number, dtype in enumerate(("f4", "f8", "i2")):
        image = (100 * rng.normal(size=(20 + number, 30))).astype(dtype)
        paths.append(tmp_path / f"J{number}+0 é.fits")
        paths[-1].write_bytes(fits_bytes(image, card("RA", str(number)), b"HISTORY \t".ljust(80)))
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(5))])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(image)]).writeto(tmp_path / "mixed.fits")
    (tmp_path / "mixed.fits").write_bytes((tmp_path / "mixed.fits").read_bytes() + b"and more")
    return [*paths, tmp_path / "mixed.fits"]


def test_every_file_comes_back(sources: list[Path], tmp_path: Path, packing: Any) -> None:
    out, folder = tmp_path / "all.rv.fits", tmp_path / "back"
    names = [f"sky/{path.name}" for path in sources]
    told: list[int] = []
    written = set()
    for threads in (1, 2):
        reports = write_archive(
            sources, names, out, packing, None, "packing", overwrite=True, threads=threads, progress=told.append
        )
        written.add(out.read_bytes())
    assert len(written) == 1
    assert sum(told) == 2 * sum(path.stat().st_size for path in sources)
    members = list_archive(out)
    assert [member.name for member in members] == names
    assert [member.source_bytes for member in members] == [path.stat().st_size for path in sources]
    assert [member.bytes for member in members] == [report.out_bytes for report in reports]
    with fits.open(out, checksum=True) as hdus:
        assert hdus["RVARCHIVE"].data["NAME"][-1] == "sky/mixed.fits"
    assert extract(out, [names[2]], folder) == [folder / names[2]]
    assert [path.name for path in (folder / "sky").iterdir()] == [sources[2].name]
    for path, back in zip(sources, extract(out, None, folder, overwrite=True), strict=True):
        assert back.read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="did you mean 'sky/mixed"):
        extract(out, [names[0], "sky/mixd.fits"], tmp_path / "none")
    with pytest.raises(DataError, match="exists already"):
        extract(out, None, folder)
    assert not (tmp_path / "none").exists()


def test_the_bound_holds_in_an_archive(sources: list[Path], tmp_path: Path, packing: Any) -> None:
    out = tmp_path / "all.rv.fits"
    names = [path.name for path in sources]
    reports = write_archive(sources, names, out, packing, ErrorBound(0.5, in_sigma=False), "packing")
    for path, report, back in zip(sources, reports, extract(out, None, tmp_path / "back"), strict=True):
        if "mixed" not in path.name:
            error = np.abs(fits.getdata(back).astype("f8") - fits.getdata(path)).max()
            assert error == report.images[0].max_error <= report.images[0].bound


def test_what_cannot_be_done_is_told(sources: list[Path], tmp_path: Path, packing: Any) -> None:
    out = tmp_path / "all.rv.fits"
    names = [path.name for path in sources]
    for wrong in ("../a.fits", "/a.fits", "a/../../b", "", ".", "a\\b", "C:a"):
        with pytest.raises(DataError, match="cannot be the name"):
            write_archive(sources, [wrong, *names[1:]], out, packing, None, "packing")
    with pytest.raises(DataError, match="two of one name"):
        write_archive(sources, names[:1] * 4, out, packing, None, "packing")
    with pytest.raises(PluginError, match="no tiles"):
        write_archive(sources, names, out, RiceCodec(RiceConfig()), None, "rice")
    sources[1].write_bytes(b"no FITS")
    with pytest.raises(DataError, match="no FITS"):
        write_archive(sources, names, out, packing, None, "packing")
    assert not out.exists()
    write_archive(sources[:1], names[:1], out, packing, None, "packing")
    with pytest.raises(DataError, match="is an archive"):
        decompress_file(out, tmp_path / "b.fits")
    with pytest.raises(DataError, match="compressed by rvtool already"):
        compress_file(out, tmp_path / "b.rv.fits", packing, None, "packing")
    with pytest.raises(DataError, match="no archive"):
        list_archive(sources[0])


def test_names_that_lead_out_of_the_folder_are_refused(sources: list[Path], tmp_path: Path, packing: Any) -> None:
    out = tmp_path / "all.rv.fits"
    write_archive(sources[:1], ["xxx/abc.fits"], out, packing, None, "packing")
    out.write_bytes(out.read_bytes().replace(b"xxx/abc.fits", b"../../x.fits"))
    with pytest.raises(DataError, match="cannot be the name"):
        extract(out, None, tmp_path / "back")


def test_a_source_that_cannot_be_compressed_is_left_out(
    sources: list[Path], tmp_path: Path, packing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = type(packing).encode

    def encode(self: Any, tile: np.ndarray, bound: float) -> bytes:
        return b"" if tile.dtype == np.float64 else real(self, tile, bound)

    monkeypatch.setattr(type(packing), "encode", encode)
    bad, out = tmp_path / "bad.fits", tmp_path / "all.rv.fits"
    bad.write_bytes(b"no FITS")
    given = [bad, *sources, tmp_path / "none.fits"]
    names = [path.name for path in given]
    written = set()
    for threads in (1, 3):
        failed: dict[Path, Exception] = {}
        reports = write_archive(
            given, names, out, packing, None, "packing",
            overwrite=True, threads=threads, left_out=failed.__setitem__,
        )  # fmt: skip
        assert list(failed) == [bad, sources[1], given[-1]]
        assert "Codec packing fails" in str(failed[sources[1]])
        written.add(out.read_bytes())
    assert len(written) == 1
    kept = [sources[0], *sources[2:]]
    assert [report.source for report in reports] == kept
    with fits.open(out, checksum=True) as hdus:
        assert len(hdus[1].data) == len(kept)
        assert hdus[1].verify_checksum() == hdus[1].verify_datasum() == 1
    for path, back in zip(kept, extract(out, None, tmp_path / "back"), strict=True):
        assert back.read_bytes() == path.read_bytes()
    with pytest.raises(PluginError, match="Codec packing fails"):
        write_archive(sources, names[1:-1], out, packing, None, "packing", overwrite=True)
    with pytest.raises(DataError, match="none of the files"):
        write_archive([bad], ["a"], out, packing, None, "packing", overwrite=True, left_out=lambda path, error: None)


@pytest.mark.parametrize("field", ["offset", "name"])
def test_files_that_share_bytes_or_a_name_are_refused(
    field: str, sources: list[Path], tmp_path: Path, packing: Any
) -> None:
    out = tmp_path / "all.rv.fits"
    write_archive(sources[:2], ["a.fits", "b.fits"], out, packing, None, "packing")
    data = bytearray(out.read_bytes())
    with open_units(out) as units:
        rows = np.frombuffer(data, row_type(6), 2, units[1].data_start)  # a view: what is set is set in `data`
    rows[field][1] = rows[field][0]
    out.write_bytes(data)
    with pytest.raises(DataError, match="its table of files is not what was written"):
        list_archive(out)


@pytest.mark.shared
def test_an_archive_of_a_survey_is_far_smaller(shared: Path, tmp_path: Path, packing: Any) -> None:
    packing = type(packing)(side=512)
    small = [path for path in sorted((shared / "first-fits").glob("*.fits")) if path.stat().st_size < 100_000][::8]
    out = tmp_path / "all.rv.fits"
    bound = ErrorBound(0.25, in_sigma=True)
    write_archive(small, [path.name for path in small], out, packing, bound, "packing")
    alone = [compress_file(path, tmp_path / path.name, packing, bound, "packing").out_bytes for path in small]
    assert out.stat().st_size <= 0.75 * sum(alone)
    with open_archive(out) as archive:
        units = archive.units(small[5].name)
        assert units[0].image
        assert units[0].image.shape == (150, 150)
