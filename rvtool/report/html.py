"""A report of one file: tables and figures embedded, no network, no scripts; readable by day and by night."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rvtool.data.files import write_bytes
from rvtool.report.figures import DPI
from rvtool.report.scores import METRICS, Metric
from rvtool.report.tables import arrow, number, span

CSS_DPI = 96
STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --dim: #5c6670; --page: #ffffff; --line: #d9dee3; --card: #f5f7f9;
        --warn: #8a4b00; --warn-card: #fff4e0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ec; --dim: #9aa5b1; --page: #15181c; --line: #343a41; --card: #1e2328;
          --warn: #ffcf87; --warn-card: #33270f; } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--page); color: var(--text);
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p.lead { color: var(--dim); margin: 0 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { color: var(--dim); font-weight: 600; }
table.settings td { text-align: left; overflow-wrap: anywhere; } table.settings td:first-child { color: var(--dim); }
td small { display: block; color: var(--dim); max-width: 26rem; text-align: left; }
figure { margin: 1.2rem 0; } figcaption { color: var(--dim); margin-top: .3rem; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; border: 1px solid var(--line); }
ul.warnings { background: var(--warn-card); color: var(--warn); border-radius: 6px; padding: .8rem 1rem .8rem 2rem; }
details { background: var(--card); border-radius: 6px; padding: .6rem 1rem; } summary { cursor: pointer; }
footer { margin-top: 3rem; color: var(--dim); font-size: .85rem; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="lead">{lead}</p>
{body}
<footer>{footer}</footer>
</body>
</html>
"""


class Markup(str):
    """Text that is HTML already; every other string is escaped."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> Markup:
    """Make a table; cells are escaped unless they are `Markup`. No headings give no head."""
    head = f"<thead><tr>{''.join(f'<th>{_text(h)}</th>' for h in headings)}</tr></thead>" if headings else ""
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return Markup(f'<div class="wide"><table class="{escape(kind)}">{head}<tbody>{body}</tbody></table></div>')


def section(heading: str, *parts: str) -> Markup:
    """Make a section with a heading."""
    return Markup(f"<h2>{_text(heading)}</h2>\n" + "\n".join(_text(part) for part in parts))


def figure(path: Path, caption: str) -> Markup:
    """Embed a PNG with its caption, at the size that it was drawn for."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20]) * CSS_DPI // DPI  # the header's first field (PNG 1.2, section 11.2.2)
    words, code = escape(caption), base64.b64encode(data).decode()
    return Markup(
        f'<figure><img width="{width}" src="data:image/png;base64,{code}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def warnings(sentences: Sequence[str]) -> Markup:
    """List warnings; nothing where there are none."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return Markup(f'<ul class="warnings">{items}</ul>' if items else "")


def settings(values: Mapping[str, Any]) -> Markup:
    """List settings, folded away."""
    rows = [(name, _plain(value)) for name, value in values.items()]
    return Markup(f"<details><summary>{len(rows)} settings</summary>{table((), rows, 'settings')}</details>")


def write_page(path: Path, title: str, lead: str, parts: Sequence[str], footer: str = "") -> None:
    """Write a page of these parts, whole or not at all."""
    body = "\n".join(_text(part) for part in parts)
    page = PAGE.format(title=escape(title), lead=escape(lead), style=STYLE, body=body, footer=escape(footer))
    write_bytes(path, page.encode())


def metrics_section(
    metrics: Mapping[str, Any],
    kinds: Mapping[str, Metric] = METRICS,
    baseline: str = "Majority class",
    meaning: str = "The baseline answers every image with the shares of the classes in the training split.",
) -> Markup:
    """Every figure of some kinds of metric, with what exactly it is, beside a baseline."""
    rows = []
    for name, metric in kinds.items():
        row = metrics[name]
        title = Markup(f"{escape(arrow(metric))}<small>{escape(metric.definition)}</small>")
        rows.append((title, number(row["value"]), span(row["low"], row["high"]), number(row["baseline"])))
    grouped = (
        f" of {metrics['groups']} sky groups, which are resampled whole"
        if metrics["groups"] < metrics["images"]
        else ""
    )
    note = f"{metrics['images']} images{grouped}. Intervals are bootstrap percentiles. {meaning}"
    heads = ("Metric", "Value", "95 % interval", baseline)
    return section("How well it answers", Markup(f"<p>{escape(note)}</p>"), table(heads, rows))


def classes_section(metrics: Mapping[str, Any]) -> Markup:
    """Precision, recall and F1 of each class."""
    rows = [
        (
            name,
            str(row["support"]),
            *(f"{number(row[k])} ({span(row[f'{k}_low'], row[f'{k}_high'])})" for k in ("precision", "recall", "f1")),
        )
        for name, row in metrics["classes"].items()
    ]
    return section("Each class", table(("Class", "Images", "Precision", "Recall", "F1"), rows))


def sets_section(sets: Mapping[str, Any]) -> Markup:
    """What `rvtool.report.verdicts.judge_sets` counted."""
    rows = [
        ("Asked to hold the true class", f"{sets['asked']:.0%}"),
        ("Hold it", f"{sets['covered']:.1%} (95 % interval {sets['low']:.1%} to {sets['high']:.1%})"),
        *((f"Hold it, of {name} images", f"{covered:.1%}") for name, covered in sets.get("classes", {}).items()),
        ("Classes in a set, mean", f"{sets['mean_classes']:.2f}"),
        ("Sets of one class", f"{sets['single']:.0%}"),
        ("Validation images that they rest on", str(sets["validation_images"])),
    ]
    return section("Sets of classes", table((), rows))


def robustness_section(robustness: Mapping[str, Any]) -> Markup:
    """What disturbed images cost."""
    rows = [
        (
            row["kind"],
            number(row["balanced_accuracy"]),
            number(row["difference"], sign=True),
            span(row["low"], row["high"], sign=True),
            f"{row['changed']:.1%}",
        )
        for row in robustness["kinds"]
    ]
    heads = ("Image", "Balanced accuracy", "Difference", "95 % interval", "Answers that change")
    return section(f"Robustness, on {robustness['images']} images", table(heads, rows))


def cost_section(cost: Mapping[str, Any]) -> Markup:
    """What `rvtool.report.cost.cost` measured."""
    each = cost["parameters_per_training_image"]
    rows = [
        ("Parameters", f"{cost['parameters']:,} ({cost['trainable_parameters']:,} trainable)"),
        ("Parameters for each training image", "–" if each is None else f"{each:,.0f}"),
        ("Memory for a batch of 64", f"{cost['peak_memory_mb']:,.0f} MB ({cost['memory_is']})"),
        *((f"Time per image, batch of {n}", f"{ms:.2f} ms") for n, ms in cost["ms_per_image"].items()),
        ("Device", f"{cost['device']}, {cost['threads']} threads"),
    ]
    return section("What it costs", table((), rows))


def comparison_section(comparison: Mapping[str, Any], first: str, second: str) -> Markup:
    """What `rvtool.report.classification.compare` found."""
    rows = []
    for name in METRICS:
        row = comparison["metrics"][name]
        values = (number(row["first"]), number(row["second"]), number(row["difference"], sign=True))
        rows.append((arrow(METRICS[name]), *values, span(row["low"], row["high"], sign=True)))
    test = comparison["mcnemar"]
    note = (
        f"On {comparison['images']} images that both answered, only {first} was right on {test['only_first_right']}"
        f" and only {second} on {test['only_second_right']} (McNemar's exact p = {test['p']:.2g})."
    )
    return section(
        f"{second} against {first}",
        Markup(f"<p>{escape(note)}</p>"),
        warnings(comparison["warnings"]),
        table(("Metric", first, second, "Difference", "95 % interval"), rows),
    )


def _text(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_plain(item)}" for name, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "–"
    return "–" if value is None or value == "" else str(value)
