"""What a training logged: a run's ``metrics.csv``, or the text that any other program wrote line by line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rvtool.errors import DataError
from rvtool.report.curves import LEARNING_RATE, Curve, read_metrics

LONGEST_LINE = 20_000  # characters; a log's line is no book
LARGEST_STEP = 1e15  # whole numbers up to here are exact, and can be drawn
NUMBER = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
DECIMAL = r"[-+]?(?:\d*\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|nan|inf)"
WORD = r"[A-Za-z][\w/\-]*(?:\.[\w/\-]+)*"
ENDS = r"(?![\w:/]|\.\d)"  # a number that goes on is a version, a time, a fraction or has a unit
PAIR = re.compile(
    rf"(?<![\w/.\-])(?P<name>{WORD}(?: {WORD})?)"
    rf"(?:['\"]?\s*[:=]\s*(?P<number>{NUMBER})|\s+(?P<spaced>{DECIMAL})){ENDS}",
    re.IGNORECASE,
)
FRACTION = re.compile(
    r"(?:(?<![A-Za-z])(?P<word>[A-Za-z]+)['\"]?[\s:=#\[\](]*)?(?<![\w.])(?P<done>\d+)\s*/\s*(?P<total>\d+)(?![\w./])"
)
STEP = re.compile(
    r"(?<![A-Za-z])(?:global_?step|step|iter(?:ation)?|itr|num_updates)\b['\"]?[\s:=#\[\](]*(\d+)(?![\w.])",
    re.IGNORECASE,
)
EPOCH = re.compile(r"\bepoch\b['\"]?[\s:=#\[(]*(\d+(?:\.\d+)?)", re.IGNORECASE)
PREFIX = re.compile(r"^\W*(\d+)\]?\s*[:|]")
CLOCK = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:[.,]\d+)?)")
NO_NUMBERS = re.compile(
    r"\x1b\[[\d;]*[A-Za-z]|\d{4}-\d\d-\d\d|(?<![\w.])\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?![\w.])"
    r"|\b(?:INFO|DEBUG|WARNING)\b"
)
SIDES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation", "test", "dev"), "val"),
}
SIDE = re.compile(rf"(?<![A-Za-z])({'|'.join(SIDES)})(?![a-z])", re.IGNORECASE)
RATE = re.compile(r"(?:.*[/_ .-])?(?:lr|learning[_ -]?rate)(?:[_/ -]?(\w+))?", re.IGNORECASE)
COUNTERS = re.compile(r"(?:.*[/ ])?(?:global_?step|step|iter(?:ation)?|itr|num_updates|epochs?)", re.IGNORECASE)
UNLEARNT = re.compile(
    r"(?:.*[/_ ])?(?:time|eta|seconds|elapsed|memory|mem|seed|batch(?:_size)?|images_per_s|samples_per_second|speed|fps"
    r"|v_num|from|to|of|in|at)",
    re.IGNORECASE,
)
EXPECTED = "expected are lines such as 'step 100/5000: loss: 0.31, lr=1e-4' or '{\"step\": 100, \"loss\": 0.31}'"


@dataclass(frozen=True)
class Log:
    """What was logged, and when.

    Attributes
    ----------
    curves
        By ``train/NAME``, ``val/NAME`` and, for learning rates, ``lr...``; never empty.
    unit
        What a step is called: ``"step"``, ``"epoch"`` or ``"row"``.
    begin
        The step at which the log begins.
    total
        Steps in all; None where not known.
    epoch
        The epoch, from 0, that each row of a run's log belongs to.
    epoch_steps
        Steps in an epoch; None where not known.
    elapsed
        Seconds since `begin`.
    """

    curves: dict[str, Curve]
    unit: str = "step"
    begin: float = 0.0
    total: float | None = None
    epoch: Curve | None = None
    epoch_steps: float | None = None
    elapsed: Curve | None = None

    @property
    def last(self) -> float:
        """The last step of which anything is known."""
        return max(float(curve.step.max()) for curve in self.curves.values())


def read_run_log(path: Path) -> Log:
    """Read the ``metrics.csv`` of a run, which may still be going.

    Raises
    ------
    DataError
        As `rvtool.report.curves.read_metrics`; or nothing but counters was logged.
    """
    read, epoch_steps = read_metrics(path)
    # the last step of an epoch may have two rows, which tell the same
    curves = {name: _curve(dict(zip(*map(np.ndarray.tolist, curve), strict=True))) for name, curve in read.items()}
    epoch, seconds = curves.get("epoch"), curves.get("seconds")
    elapsed = None
    if epoch is not None and seconds is not None and np.array_equal(epoch.step, seconds.step):
        # the clock starts anew in each epoch
        last = np.append(np.diff(epoch.value) > 0, False)
        before = np.concatenate([[0.0], np.cumsum(np.where(last, seconds.value, 0.0))[:-1]])
        elapsed = Curve(np.append(0.0, seconds.step), np.append(0.0, before + seconds.value))
    kept = {n: c for n, c in curves.items() if n.startswith(("train/", "val/")) or LEARNING_RATE.fullmatch(n)}
    if not kept:
        raise DataError(f"{path} has no columns train/..., val/... or lr; nothing was logged while training.")
    return Log(kept, epoch=epoch, epoch_steps=epoch_steps, elapsed=elapsed)


def read_text_log(path: Path) -> Log:
    """Read the log of another program: names and numbers, as text or JSON lines; or a table with a column ``step``.

    Understood are ``NAME: VALUE``, ``NAME=VALUE`` and, in lines that tell a step or an epoch, ``NAME VALUE``. The step
    is called so (or iter, iteration, global_step), or a fraction (``[100/5000]``), or stands in front (``100: ...``);
    without any, epochs are counted, or else lines. A quantity belongs to training unless its name or the words before
    it say validation or test. A line that tells a step again replaces what was read of it.

    Raises
    ------
    DataError
        It cannot be read or is no text, or nothing of that kind is in it at two steps or more.
    """
    try:
        with path.open("rb") as stream:
            if b"\0" in stream.read(LONGEST_LINE):
                raise DataError(f"{path} is no text, and so no log; {EXPECTED}.")
        with path.open(encoding="utf-8", errors="replace") as file:
            told = map(_row_of, csv.DictReader(file)) if path.suffix.lower() == ".csv" else map(_read_line, file)
            rows = [row for row in told if row.values]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a log ({error}); check --log.") from error
    log = _assemble(rows) if rows else None
    # anything written by people holds a number or two
    if log is None or max(len(curve.step) for curve in log.curves.values()) < 2:
        raise DataError(f"{path} tells of no training: no quantity is in it twice; {EXPECTED}.")
    return log


@dataclass
class _Row:
    """What one line tells."""

    step: float | None = None
    epoch: float | None = None
    total: float | None = None
    epochs: float | None = None
    clock: float | None = None
    values: dict[str, float] = field(default_factory=dict)


def _read_json(line: str) -> _Row | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        return _row_of(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _row_of(told: dict[str, Any]) -> _Row:
    """Read names and values; those of a record within are named ``RECORD/NAME``."""
    row = _Row()
    pairs = list(told.items())
    for name, value in pairs:
        short = str(name).rpartition("/")[2]
        if isinstance(value, dict):  # read in their turn
            pairs += [(f"{name}/{inner}", one) for inner, one in value.items()]
        elif (number := _number(value)) is None:
            continue
        elif STEP.fullmatch(f"{short} 0"):
            row.step = _counter(number)
        elif short.lower() == "epoch":
            row.epoch = _counter(number)
        else:
            _put(row, name, number, "train")
    return row


def _read_line(line: str) -> _Row:
    if row := _read_json(line):
        return row
    row, line = _Row(), line[:LONGEST_LINE]
    if clock := CLOCK.search(line):
        with suppress(ValueError, OverflowError, OSError):  # no day of this calendar
            row.clock = datetime.fromisoformat(f"{clock[1]} {clock[2].replace(',', '.')[:15]}").timestamp()
    line = NO_NUMBERS.sub(" ", line)
    for fraction in FRACTION.finditer(line):
        done, total = _counter(_number(fraction["done"])), _counter(_number(fraction["total"]))
        if (fraction["word"] or "").lower() == "epoch":
            row.epoch, row.epochs = done, total
        elif row.step is None:
            row.step, row.total = done, total
    if row.step is None and (step := STEP.search(line) or PREFIX.search(line)):
        row.step = _counter(_number(step[1]))
    if row.epoch is None and (epoch := EPOCH.search(line)):
        row.epoch = _counter(_number(epoch[1]))
    counted = row.step is not None or row.epoch is not None
    side, end = "train", 0
    for pair in PAIR.finditer(line):
        for word in SIDE.findall(line[end : pair.start()]):
            side = SIDES[word.lower()]
        end = pair.end()
        if pair["number"] or counted:
            side = _put(row, pair["name"], float(pair["number"] or pair["spaced"]), side)
    return row


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _counter(number: float | None) -> float | None:
    return number if number is not None and 0 <= number < LARGEST_STEP else None


def _put(row: _Row, name: str, value: float, side: str) -> str:
    """Note a quantity under one spelling; return the side, of training or validation, that it belongs to."""
    if COUNTERS.fullmatch(name) or UNLEARNT.fullmatch(name):
        return side
    if rate := RATE.fullmatch(name):
        row.values["lr" + (f"-{rate[1].lower()}" if rate[1] else "")] = value
        return side
    for word in SIDE.finditer(name):
        if word.start() == 0 or word.end() == len(name):
            side = SIDES[word[1].lower()]
            name = (name[: word.start()] + name[word.end() :]).strip("/_ .-") or "loss"
    row.values[f"{side}/{name.strip('/_ .-').lower().replace(' ', '-')}"] = value
    return side


class _Placed(NamedTuple):
    step: float
    row: _Row


def _assemble(rows: list[_Row]) -> Log:
    """Bring rows onto one axis, in its order."""
    if any(row.step is not None for row in rows):
        unit, placed = "step", list(_by_step(rows))
    elif any(row.epoch is not None for row in rows):
        unit, placed = "epoch", list(_carried((row.epoch, row) for row in rows))
    else:
        unit, placed = "row", [_Placed(float(number), row) for number, row in enumerate(rows, 1)]
    found: dict[str, dict[float, float]] = {}
    clocks: dict[float, float] = {}
    for step, row in placed:
        for name, value in row.values.items():
            found.setdefault(name, {})[step] = value
        if row.clock is not None:
            clocks[step] = row.clock
    totals = [row.total if unit == "step" else row.epochs for _, row in placed]
    known = [total for total in totals if total]
    steps = [step for step, _ in placed]
    total = known[-1] if known and known[-1] >= max(steps) else None
    elapsed = _curve(clocks) if len(clocks) > 1 else None
    if elapsed is not None:
        elapsed = Curve(elapsed.step, np.maximum.accumulate(elapsed.value - elapsed.value[0]))
    return Log({name: _curve(values) for name, values in found.items()}, unit, min(steps), total, elapsed=elapsed)


def _by_step(rows: list[_Row]) -> Iterator[_Placed]:
    """Place rows by their step; where counting starts anew in each epoch, epochs follow each other."""
    epoch = None
    for row in rows:
        epoch = row.epoch = row.epoch if row.epoch is not None else epoch
    told = [row for row in rows if row.step is not None and row.epoch is not None]
    began = [(a.step, b.step) for a, b in pairwise(told) if b.epoch > a.epoch]  # type: ignore[operator]
    if 2 * sum(b <= a for a, b in began) <= len(began):  # type: ignore[operator]
        yield from _carried((row.step, row) for row in rows)
        return
    length = max(max(row.step or 0, row.total or 0) for row in told)
    first = min(row.epoch or 0 for row in told)
    for row in told:
        if row.epochs:
            row.total = length * row.epochs
        elif row.total:
            row.total = None  # that of an epoch
    yield from _carried(
        (None if row.step is None or row.epoch is None else (row.epoch - first) * length + row.step, row)
        for row in rows
    )


def _carried(rows: Iterable[tuple[float | None, _Row]]) -> Iterator[_Placed]:
    """Place what has no step at the last one; what comes before the first is no training yet."""
    last = None
    for step, row in rows:
        last = step if step is not None else last
        if last is not None:
            yield _Placed(last, row)


def _curve(values: dict[float, float]) -> Curve:
    steps = sorted(values)
    return Curve(np.array(steps), np.array([values[step] for step in steps]))
