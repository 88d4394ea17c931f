"""Tells verdicts: tables for people, plain values for programs, files and figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from rvtool.data.files import write_bytes
from rvtool.report.rates import Point, rate_distortion
from rvtool.report.tables import UNDEFINED, number, write_csv
from rvtool.verbs.compare_codecs import LOSSLESS
from rvtool.verbs.compare_codecs.judge import Verdict

_SIZES = ("bit/\npixel", "pay-\nload", "ratio", "MB/s\nin", "MB/s\nout", "error/\nbound")
_NOISE = ("noise\ntimes", "0.3σ\nstack", "5σ\nflux %", "5σ\n.01 px")


def ranked(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Order verdicts on one image: those that pass the gate by size, then the others by size."""
    return sorted(verdicts, key=lambda one: (bool(one.failures), one.bytes or float("inf"), one.payload_bytes))


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print the table of one image and bound; under a line those that fail, and what."""
    first = verdicts[0]
    bound = first.asked if first.asked == LOSSLESS else f"within {first.asked}"
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    say(f"{first.image}, {bound}: {first.pixels:,} pixels, {first.source_bytes:,} bytes", style="bold")
    # eleven columns in 80 characters
    table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("codec")
    noisy = any(one.noise_growth for one in verdicts)
    for heading in (*_SIZES, *(_NOISE if noisy else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for failed, group in groupby(verdicts, key=lambda one: bool(one.failures)):
        if failed:
            table.add_section()
        for one in group:
            cells = [*_sizes(one), *(_noise(one) if noisy else ())]
            table.add_row(one.codec, *cells, style="red" if failed else None)
    console.print(table)
    for one in verdicts:
        if one.failures:
            say(f"Not ranked: {one.codec}: {'; '.join(one.failures)}")
    say("")


def show_totals(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print for each bound and codec the bytes of all images together."""
    table = Table(title="all images", title_justify="left")
    for heading in ("bound", "codec", "bytes", "bit/pixel", "ratio", "pass"):
        table.add_column(heading, justify="left" if heading in ("bound", "codec") else "right")
    for asked, of_bound in _grouped(verdicts, "asked"):
        rows = []
        for codec, group in _grouped(of_bound, "codec"):
            size, before, pixels = (sum(getattr(v, f) for v in group) for f in ("bytes", "source_bytes", "pixels"))
            passed = sum(not verdict.failures for verdict in group)
            ratio = f"{before / size:.2f}" if size else UNDEFINED
            rows.append(
                (size, (asked, codec, f"{size:,}", f"{8 * size / pixels:.3f}", ratio, f"{passed}/{len(group)}"))
            )
        for _, cells in sorted(rows):
            table.add_row(*cells)
        table.add_section()
    console.print(table)


def plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values; what is not a number is None."""
    derived = {name: getattr(verdict, name) for name in ("bits_per_pixel", "payload_bits_per_pixel", "ratio")}
    values = {**asdict(verdict), **derived, "failures": list(verdict.failures)}
    return {key: None if isinstance(v, float) and not isfinite(v) else v for key, v in values.items()}


def headline(verdicts: Sequence[Verdict]) -> str:
    """Name the smallest that passes for each bound."""
    best = []
    for asked, group in _grouped(verdicts, "asked"):
        wins: dict[str, int] = {}
        for _, of_image in _grouped(group, "image"):
            first = ranked(of_image)[0]
            if not first.failures:
                wins[first.codec] = wins.get(first.codec, 0) + 1
        if wins:
            best.append(f"{asked}: {max(wins, key=lambda codec: wins[codec])}")
    return ", ".join(best) or "none passes"


def write(verdicts: Sequence[Verdict], folder: Path, console: Console) -> None:
    """Write ``table.csv``, ``comparison.json``, and for each image of several bounds a figure."""
    records = [_flat(plain(verdict)) for verdict in verdicts]
    write_csv(folder / "table.csv", list(records[0]), (record.values() for record in records))
    text = json.dumps([plain(verdict) for verdict in verdicts], indent=1)
    write_bytes(folder / "comparison.json", text.encode())
    taken: set[str] = set()
    for image, group in _grouped(verdicts, "image"):
        stem, count = Path(image).name.partition(".")[0], 2
        name = stem
        while name in taken:
            name, count = f"{stem}-{count}", count + 1
        taken.add(name)
        points = {
            codec: [
                Point(v.bound / v.sigma, v.bits_per_pixel, v.payload_bits_per_pixel, not v.failures)
                for v in of_codec
                if v.bound and v.sigma and v.bytes
            ]
            for codec, of_codec in _grouped(group, "codec")
        }
        if any(points.values()):
            rate_distortion(points, folder / f"rates-{name}.png", Path(image).name)
    console.print(f"Written to {folder}", markup=False, highlight=False, soft_wrap=True)


def _grouped(verdicts: Iterable[Verdict], name: str) -> list[tuple[str, list[Verdict]]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(getattr(verdict, name), []).append(verdict)
    return list(groups.items())


def _sizes(one: Verdict) -> list[str]:
    if not one.bytes:
        return [UNDEFINED] * len(_SIZES)
    bits = (one.bits_per_pixel, one.payload_bits_per_pixel)
    speeds = (one.encode_mb_s, one.decode_mb_s)
    return [
        *(f"{value:.3f}" if value < 100 else f"{value:.0f}" for value in bits),
        f"{one.ratio:.2f}",
        *(f"{value:.1f}" if value < 10 else f"{value:.0f}" for value in speeds),
        number(one.error_in_bounds),
    ]


def _noise(one: Verdict) -> list[str]:
    return [
        number(one.noise_growth),
        UNDEFINED if one.stack is None else f"{one.stack.value:.3f}±{one.stack.error:.3f}",
        UNDEFINED if one.flux is None else f"{100 * one.flux.value:+.2f}",
        UNDEFINED if one.position_px is None else f"{100 * one.position_px.value:.2f}",
    ]


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Spread estimates over two columns, and write failures as one text."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if key in ("stack", "flux", "position_px"):
            flat |= {key: value and value["value"], f"{key}_error": value and value["error"]}
        else:
            flat[key] = "; ".join(value) if key == "failures" else value
    return flat
