"""Files that were written at release: every later version reads them, to the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rvtool.compressed.files import decompress_file

STORED = Path(__file__).parent / "stored"
RESTORED = {
    "quarter_sigma": "d1fe71ffe847705bd2d2b8047ebecc71792bb8060a8faf4fbb2a776f8246cb26",
    "one_sigma": "ac95a231796eeff7444d1b3a13578050176b48cb43df1ad721aa21bc1813c283",
    "fast": "d1fe71ffe847705bd2d2b8047ebecc71792bb8060a8faf4fbb2a776f8246cb26",  # quantised as `quarter_sigma` is
    "lossless": "b71bebae820cb412df78734ec37a10b39f231eec61295fdf29d43fa47c0de862",
    "cube": "55dec6a819dde3c1d09b638b15c33a47058697f9a1ba6dd4ed6ca013d76a2fb7",
    "compat": "a6df30caaa15824307791c8f8aa1fc1c917b9ec665edccf9df2a208aff8040c7",
}
"""SHA-256 of the restored file of each: noise with a source and blank pixels; a cube, integers and a table."""


@pytest.mark.parametrize("name", RESTORED)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_was_written_then_is_read_now(tmp_path: Path, name: str, threads: int) -> None:
    out = tmp_path / "back.fits"
    decompress_file(STORED / f"{name}.rv.fits", out, threads=threads)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == RESTORED[name]
