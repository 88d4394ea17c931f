"""Many files: folders, batches that go on, archives, pipes, watched folders, and sources that are deleted."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from rich.console import Console

from rvtool.compressed import batch
from rvtool.errors import ConfigError, DataError, PluginError
from rvtool.verbs import compress, decompress
from rvtool.verbs import run as verb_run
from rvtool.verbs.compress import many, work
from rvtool.verbs.compress import watch as watching


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, one of them further down, beside what is none."""
    folder = tmp_path / "sky"
    rng = np.random.default_rng(0)
    for name in ("a.fits", "b.fits", "sub/c.fits"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(rng.normal(size=(70, 80)).astype("f4")).writeto(folder / name)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.fits").write_text("x")
    return folder


def said(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


def packed(console: Console, *files: Path, **settings: Any) -> dict[str, Any]:
    return compress.run(compress.Settings(files=files, **{"compat": True, **settings}), console)


def restored(console: Console, *files: Path, **settings: Any) -> dict[str, Any]:
    return decompress.run(decompress.Settings(files=files, **settings), console)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_batch_goes_on_where_it_was_killed(folder: Path, tmp_path: Path, console: Console) -> None:
    out = tmp_path / "out"
    assert len(packed(console, folder, out=out)["files"]) == 3
    assert names_in(out) == ["a.rv.fits", "b.rv.fits", "sub/c.rv.fits"]
    kept = (out / "b.rv.fits").stat().st_mtime_ns
    (out / "a.rv.fits").unlink()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (out / f".a.rv.fits.{gone.pid}.partial").write_text("half")
    living = out / f".b.rv.fits.{os.getppid()}.partial"
    living.write_text("of another process")
    result = packed(console, folder, out=out, workers=2)
    assert [Path(row["file"]).name for row in result["files"]] == ["a.fits"]
    assert result["already"] == 2
    assert "done already: 2" in said(console)
    assert (out / "b.rv.fits").stat().st_mtime_ns == kept
    assert names_in(out) == [living.name, "a.rv.fits", "b.rv.fits", "sub/c.rv.fits"]
    again = packed(console, folder, out=out, max_error="0.5sigma")
    assert (len(again["failures"]), again["already"]) == (3, 0)
    assert "exists already" in again["failures"][0]["error"]
    assert len(packed(console, folder, out=out, max_error="0.5sigma", overwrite=True)["files"]) == 3


def test_restoring_goes_on_as_well(folder: Path, tmp_path: Path, console: Console) -> None:
    packed(console, folder, lossless=True)
    assert (folder / "sub" / "c.rv.fits").exists()
    back = tmp_path / "back"
    assert len(restored(console, folder, out=back)["files"]) == 3
    (back / "a.fits").unlink()
    (back / "b.fits").write_bytes((back / "b.fits").read_bytes()[:-2880])
    result = restored(console, folder, out=back)
    assert (len(result["files"]), result["already"], len(result["failures"])) == (1, 1, 1)
    for name in ("a.fits", "sub/c.fits"):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    assert "back/failures.csv" in said(console)


def test_ctrl_c_leaves_what_is_done(
    folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = work.compress_file

    def pressed(source: Path, *args: Any, **kwargs: Any) -> Any:
        if source.name == "b.fits":
            raise KeyboardInterrupt
        return real(source, *args, **kwargs)

    monkeypatch.setattr(work, "compress_file", pressed)
    result = packed(console, folder, out=tmp_path / "out", workers=1)
    assert len(result["files"]) + result["unfinished"] == 3
    assert result["unfinished"] > 0
    assert "the same command goes on" in said(console)
    assert not [name for name in names_in(tmp_path / "out") if "partial" in name]


def test_a_stage_of_a_recipe_goes_on(
    folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[[stage]]\nverb = "compress"\nfiles = ["{folder}"]\ncompat = true\nout = "{tmp_path / "out"}"\nworkers = 1'
    )
    with monkeypatch.context() as patched:
        real = work.compress_file

        def pressed(source: Path, *args: Any, **kwargs: Any) -> Any:
            if source.name == "c.fits":
                raise KeyboardInterrupt
            return real(source, *args, **kwargs)

        patched.setattr(work, "compress_file", pressed)
        with pytest.raises(DataError, match="the same command goes on"):
            verb_run.run(verb_run.Settings(recipe=recipe), console)
    done = names_in(tmp_path / "out")
    (stage,) = verb_run.run(verb_run.Settings(recipe=recipe), console)["stages"]
    assert "going on with" in said(console)
    assert stage["result"]["already"] == len(done) > 0
    assert len(names_in(tmp_path / "out")) == 3


def test_stopping_interrupts_a_file(folder: Path, tmp_path: Path) -> None:
    tasks = batch.tasks_of([folder], tmp_path, lambda file: file.suffix == ".fits", str)
    stopped, begun = [], threading.Barrier(3)

    def slow(task: batch.Task, threads: int, step: Callable[[int], None]) -> bool:
        begun.wait()
        if task.source.name != "a.fits":
            try:
                while True:
                    step(0)
            except BaseException:
                stopped.append(task.source.name)
                raise
        return True

    through = batch.work_through(tasks, slow, 3, lambda count: None)
    assert next(through).result is True
    through.close()
    assert sorted(stopped) == ["b.fits", "c.fits"]


def test_a_bug_costs_one_file(folder: Path, tmp_path: Path) -> None:
    def work(task: batch.Task, threads: int, step: Callable[[int], None]) -> bool:
        if task.source.name == "b.fits":
            raise ZeroDivisionError("of nothing")
        (tmp_path / "none").stat()
        return True

    tasks = batch.tasks_of([folder], tmp_path, lambda file: file.suffix == ".fits", str)
    errors = [str(ended.error) for ended in batch.work_through(tasks, work, 1, lambda count: None)]
    assert sum("No such file" in error for error in errors) == 2
    assert sum("ZeroDivisionError: of nothing" in error for error in errors) == 1
    with pytest.raises(ZeroDivisionError):
        list(batch.work_through(tasks[1:2], work, 1, lambda count: None))


def test_an_archive_there_and_back(folder: Path, tmp_path: Path, console: Console) -> None:
    (folder / "bad.fits").write_text("<html>")
    (folder / "odd:name.fits").write_bytes((folder / "a.fits").read_bytes())
    out = tmp_path / "all.rv.fits"
    tiled: dict[str, Any] = {"compat": False, "lossless": True, "out": out}
    result = packed(console, folder, **tiled)
    assert [row["file"].rpartition("/")[2] for row in result["files"]] == ["a.fits", "b.fits", "c.fits"]
    assert {row["file"].rpartition("/")[2] for row in result["failures"]} == {"bad.fits", "odd:name.fits"}
    assert (tmp_path / "failures.csv").exists()
    assert result["out_bytes"] == out.stat().st_size
    with pytest.raises(DataError, match="exists already"):
        packed(console, folder, **tiled)
    assert [row["name"] for row in restored(console, out, list=True)["files"]] == ["a.fits", "b.fits", "sub/c.fits"]
    restored(console, out, only=("sub/c.fits",))
    assert names_in(tmp_path / "all") == ["sub/c.fits"]
    result = restored(console, out)
    assert (len(result["files"]), result["already"]) == (2, 1)
    for name in names_in(tmp_path / "all"):
        assert (tmp_path / "all" / name).read_bytes() == (folder / name).read_bytes()
    with pytest.raises(ConfigError, match=r"did you mean .*'sub/c\.fits'"):
        restored(console, out, only=("c.fits",))
    with pytest.raises(ConfigError, match="--region"):
        restored(console, out, region="0:2,0:2")
    with pytest.raises(ConfigError, match="--compat"):
        packed(console, folder, out=tmp_path / "other.rv.fits")
    with pytest.raises(PluginError, match="no tiles"):
        packed(console, folder, codec="hcompress", compat=False, out=tmp_path / "other.rv.fits")
    with pytest.raises(DataError, match="Nothing to put"):
        packed(console, folder / "bad.fits", folder / "none.fits", **{**tiled, "out": tmp_path / "other.rv.fits"})
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 1
    out.write_bytes(data)
    assert restored(console, out, out=tmp_path / "damaged")["failures"]


@pytest.mark.parametrize("to", ["files", "archive"])
def test_sources_are_deleted_only_when_all_comes_back(
    to: str, folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"delete_source": True, "out": tmp_path / "out"}
    if to == "archive":
        settings |= {"compat": False, "out": tmp_path / "out.rv.fits", "overwrite": True}
    name, module = ("compress_file", work) if to == "files" else ("write_archive", many)
    real = getattr(module, name)

    def damaging(*args: Any, **kwargs: Any) -> Any:
        report = real(*args, **kwargs)
        out = args[1] if to == "files" else args[2]
        data = bytearray(out.read_bytes())
        data[len(data) // 2] ^= 1
        out.write_bytes(data)
        return report

    before = names_in(folder)
    with monkeypatch.context() as patched:
        patched.setattr(module, name, damaging)
        result = packed(console, folder, **settings)
    assert result["failures"]
    kept = {row["file"] for row in result["failures"]}
    assert all(Path(file).exists() for file in kept)
    assert len(names_in(folder)) == len(before) - 3 + len(kept)
    if to == "files":
        assert len(kept) == 3
        settings["overwrite"] = True
    assert packed(console, folder, **settings)["failures"] == []
    assert names_in(folder) == [".hidden.fits", "notes.txt"]


def test_a_source_that_changes_meanwhile_is_kept(
    folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "verify", lambda out, source: os.utime(source))
    with pytest.raises(DataError, match="has changed while"):
        packed(console, folder / "a.fits", delete_source=True)
    assert (folder / "a.fits").exists()
    monkeypatch.undo()
    os.utime(folder / "a.fits", (0, 0))
    assert packed(console, folder / "a.fits", delete_source=True)["already"] == 1
    assert not (folder / "a.fits").exists()


def rvtool(*args: object, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "rvtool", *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_through_pipes(folder: Path, tmp_path: Path) -> None:
    source = (folder / "a.fits").read_bytes()
    there = rvtool("compress", "-", "--compat", "--lossless", stdin=source)
    assert there.returncode == 0, there.stderr
    assert b"ratio" in there.stderr
    back = rvtool("decompress", "-", stdin=there.stdout)
    assert (back.returncode, back.stdout) == (0, source)


def test_what_cannot_go_through_pipes(
    folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piped(size: int) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "a.fits").read_bytes()[:size])))

    piped(9000)
    with pytest.raises(DataError, match="stdin is truncated"):
        packed(console, Path("-"), out=tmp_path / "a.rv.fits")
    piped(-1)
    with pytest.raises(DataError, match="stdin was not made by"):
        restored(console, Path("-"), out=tmp_path / "a.rv.fits")
    with pytest.raises(ConfigError, match="--json would both"):
        packed(Console(stderr=True), Path("-"))
    assert not (tmp_path / "a.rv.fits").exists()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(ConfigError, match="which is a terminal"):
        packed(console, Path("-"), out=tmp_path / "a.rv.fits")


def test_a_pipe_that_nobody_reads(folder: Path) -> None:
    command = [sys.executable, "-m", "rvtool", "compress", "-", "--compat", "--lossless"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin
        assert run.stdout
        assert run.stderr
        run.stdout.close()
        run.stdin.write((folder / "a.fits").read_bytes())
        run.stdin.close()
        told = run.stderr.read()
    assert run.returncode == 1
    assert told.splitlines()[-1].startswith(b"rvtool: The program that reads stdout ended")


def test_watching(folder: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = (folder / "a.fits").read_bytes(), tmp_path / "out"
    packed(console, folder / "a.fits", out=out / "a.rv.fits")
    looks = []

    def look() -> None:
        """What happens between looks at the folder."""
        looks.append(names_in(out))
        match len(looks):
            case 1:
                (folder / "half.fits").write_bytes(whole[:6000])
                (folder / "gone.fits").write_bytes(whole)
                (folder / "never.fits").write_bytes(whole[:6000])
            case 2:
                (folder / "gone.fits").unlink()
            case 4:
                (folder / "half.fits").write_bytes(whole)
            case 7:
                raise KeyboardInterrupt

    now = iter(range(1000))
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: look())
    monkeypatch.setattr(watching.time, "monotonic", lambda: float(next(now)))
    result = packed(console, folder, out=out, watch=True, settle_s=1.5)
    done = ["a.rv.fits", "b.rv.fits", "sub/c.rv.fits"]
    assert looks[3] == done
    assert looks[-1] == sorted([*done, "half.rv.fits"])
    assert result["already"] == 1
    assert result["unfinished"] == 0
    assert [Path(row["file"]).name for row in result["failures"]] == ["never.fits"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"codec": "hcompress"}, "--compat is the codec 'rice'"),
        ({"config": {"tile_pixels": 64}}, "--compat takes no settings of 'predictive'"),
        ({"watch": True, "files": ("a.fits",)}, "--watch wants folders"),
        ({"files": ("-", "a.fits")}, "'-' is one file"),
        ({"files": ("-",), "delete_source": True}, "'-' is one file"),
        ({"files": ("empty",)}, "holds no file"),
    ],
)
def test_what_does_not_go_together_is_refused(
    settings: dict[str, Any], says: str, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=says):
        compress.run(compress.Settings(**{"files": ("a.fits",), "compat": True, **settings}), console)


def test_a_part_of_an_image(folder: Path, console: Console) -> None:
    packed(console, folder / "a.fits", lossless=True, compat=False)
    out = restored(console, folder / "a.rv.fits", region="10:30,5:9")["files"][0]["out"]
    assert out == str(folder / "a.region.fits")
    assert np.array_equal(fits.getdata(out), fits.getdata(folder / "a.fits")[5:9, 10:30])
    for settings in ({"only": ("a.fits",)}, {"list": True}):
        with pytest.raises(ConfigError, match="is none"):
            restored(console, folder / "a.rv.fits", **settings)
    with pytest.raises(ConfigError, match="no region"):
        restored(console, folder / "a.rv.fits", region="10:30")
