"""Draws what `rvtool collect` shows on a terminal, half-way through a collection from the stand-in sky server."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

from rich.console import Console

from rvtool.testing.sky import Sky, sky_server, targets_csv
from rvtool.verbs.collect import Settings, run
from rvtool.verbs.collect.display import Display

OUT = Path(__file__).parent / "images" / "collect.svg"
COMMAND = "rvtool collect --source first --targets targets.csv --out data/first --base-url http://127.0.0.1:8801"
TAKEN_AT = 130  # images


def main() -> None:
    """Collect 240 images, and keep the picture of the moment when 130 of them are there."""
    paper = Console(record=True, width=96, file=io.StringIO(), force_terminal=True)
    taken = []
    whole = Display.picture

    def picture(display: Display) -> object:
        drawn = whole(display)
        if not taken and sum(display.gathering.had.values()) >= TAKEN_AT:
            taken.append(True)
            paper.print(f"$ {COMMAND}", highlight=False, soft_wrap=False)
            paper.print(drawn)
        return drawn

    Display.picture = picture  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        targets_csv(Path("targets.csv"), Sky(), 60)
        faults = {"faults": 0.1, "names": ("html", "truncated", "503")}
        with sky_server(latency_s=(0.1, 0.3), **faults) as server:
            settings = Settings(
                source="first",
                targets=Path("targets.csv"),
                out=Path("data/first"),
                base_url=(server.url,),
                max_rate=30.0,
                max_connections=8,
            )
            run(settings, Console(file=io.StringIO(), force_terminal=True, width=96))
            paper._record_buffer = [
                segment._replace(text=segment.text.replace(server.url, "http://127.0.0.1:8801"))
                for segment in paper._record_buffer
            ]
    OUT.write_text(paper.export_svg(title="rvtool collect, against the stand-in sky server"), encoding="utf-8")


if __name__ == "__main__":
    main()
