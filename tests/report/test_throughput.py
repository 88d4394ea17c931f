"""The table and the bar of files that went through."""

from __future__ import annotations

import io

from rich.console import Console

from rvtool.report.throughput import MOST_ROWS, Passed, Throughput, summary


def shown(passed: list[Passed], after: int) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(summary(passed, after, 2.0))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_has_each_file_while_they_are_few() -> None:
    one, two = Passed("a.fits", 4_000_000, 1_000_000, 1_000_000, 0.5), Passed("b.fits", 2_000, 1_000, 1_000, None)
    text = shown([one, two], 1_001_000)
    for words in ("a.fits", "b.fits", "exact", "0.500", "4.00", "8.00", "2 in all, 2.0 MB/s", "4.0 MB"):
        assert words in text
    assert "a.fits" not in shown([one] * (MOST_ROWS + 1), 1)
    assert "a.fits" not in shown([one], 1)
    assert "–" in shown([], 0)


def test_the_bar_tells_files_speed_and_ratio() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Throughput(console, "compressing", 2, 10_000) as bar:
        bar.advance(4_000)
        bar.ended(4_000, 1_000)
        bar.ended()
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2/2 files" in told
    assert "4.00 : 1" in told
    silent = Console(file=io.StringIO())
    with Throughput(silent, "compressing", 2, 10_000) as bar:
        bar.ended(4_000, 1_000)
    assert silent.file.getvalue() == ""  # type: ignore[attr-defined]
