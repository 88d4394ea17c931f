"""The figure of what bounds cost."""

from __future__ import annotations

from pathlib import Path

from rvtool.report.rates import Point, rate_distortion


def test_every_codec_has_a_line_and_failures_are_hollow(tmp_path: Path) -> None:
    points = {
        f"codec{i}": [Point(1.0, 1.0 + i, 0.5 + i, i != 1), Point(0.25, 2.0 + i, 1.5 + i, True)] for i in range(8)
    }
    path = tmp_path / "rates.png"
    figure = rate_distortion(points, path, "an image")
    assert path.read_bytes().startswith(b"\x89PNG")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*points, "fails the gate"]
    for panel, bits in zip(figure.axes, (2.0, 1.5), strict=True):
        hollow = [line for line in panel.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
        assert [list(line.get_xdata()) + list(line.get_ydata()) for line in hollow] == [[1.0, bits]]
        lines = [line for line in panel.lines if line.get_linestyle() != "None"]
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 8
        assert all(list(line.get_xdata()) == [0.25, 1.0] for line in lines)
