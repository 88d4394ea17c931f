"""The report: one file, nothing from elsewhere, nothing unescaped."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from rvtool.report import html, trust
from rvtool.report.classification import Answers, compare, judge

CLASSES = ("FRI", "<b>FRII</b>")
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collects words and tags, and checks that every tag is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.words, self.tags, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    labels = np.arange(40) % 2
    answers = Answers([str(n) for n in range(40)], labels, np.eye(2)[labels] * 0.6 + 0.2, CLASSES, labels // 1)
    metrics = judge(answers, (1, 1), 50)
    trust.reliability(labels, answers.probabilities, folder / "r.png")
    html.write_page(
        folder / "report.html",
        "run <1>",
        "judged & told",
        [
            html.warnings(metrics["warnings"]),
            html.metrics_section(metrics),
            html.classes_section(metrics),
            html.figure(folder / "r.png", 'sure "and" right'),
            html.comparison_section(compare(answers, answers, 20), "a<", "b&"),
            html.cost_section(
                {
                    "parameters": 1234567,
                    "trainable_parameters": 1234567,
                    "parameters_per_training_image": None,
                    "peak_memory_mb": 12.3,
                    "memory_is": "allocated by PyTorch",
                    "ms_per_image": {"1": 1.5, "64": 0.25},
                    "device": "a processor",
                    "threads": 2,
                }
            ),
            html.section("Settings", html.settings({"loss": ["ce", "l1:100"], "set": {"a": 1}, "out": None})),
        ],
        "rvtool",
    )
    reader = Reader()
    reader.feed((folder / "report.html").read_text(encoding="utf-8"))
    return reader


def test_page_is_whole_and_needs_nothing_else(page):
    assert page.open == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert len(page.addresses) == 1
    assert page.addresses[0].startswith("data:image/png;base64,iVBOR")


def test_page_says_what_was_measured(page):
    words = " ".join(page.words)
    for expected in (
        "run <1>",
        "judged & told",
        "Brier ↓",
        "0.500",
        "1,234,567",
        "2 sky groups",
        "b& against a<",
    ):
        assert expected in words
    assert "ce, l1:100" in words
    assert "Only 2 independent sky groups" in words


def test_names_are_escaped(page):
    assert "b" not in page.tags
    assert "<b>FRII</b>" in page.words
