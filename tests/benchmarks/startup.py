"""How long `rvtool --help` and `--version` take, beside the import of what they are drawn with.

    python tests/benchmarks/startup.py

Goal: at most 2.5 times the processor time of ``import typer, typer.rich_utils``, with torch installed.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

RUNS = 15
COMMANDS = {
    "import typer, typer.rich_utils": ["-c", "import typer, typer.rich_utils"],
    "rvtool --version": ["-m", "rvtool", "--version"],
    "rvtool --help": ["-m", "rvtool", "--help"],
}


def processor_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS + 1):  # in turn, so that a machine that drifts drifts for all
        for name, arguments in COMMANDS.items():
            taken[name].append(processor_seconds(arguments))
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}
    base = medians["import typer, typer.rich_utils"]
    for name, seconds in medians.items():
        print(f"{name:32} {1000 * seconds:6.0f} ms of processor time   ratio {seconds / base:.2f}")


if __name__ == "__main__":
    main()
