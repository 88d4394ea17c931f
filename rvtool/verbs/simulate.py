"""`rvtool simulate`: images of known parameters into a dataset, the same files whatever the batch size and workers."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from rvtool.config import Config
from rvtool.errors import ConfigError, PluginError, unknown

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from rvtool.kinds import Side, Simulator
    from rvtool.runs.run import Run

SIDES = {"image": "mask", "target": "target_mask"}
COLOURS = 3
PARTS = ".parts"  # of the manifest, while the images are written
DEFAULT_COUNT = 1000
# of another dataset's manifest: where its files are
OF_FILES = ("path", "plane", "target_path", "target_plane", "sha256", "target_sha256", "excluded")
OF_PIXELS = ("snr", "peak_jy_beam")  # true of those images and not of what is made of them
NO_PARAMETERS = (*SIDES, *SIDES.values(), "label", "index")  # what else of a batch is no column


class Settings(Config):
    """What `rvtool simulate` may be told."""

    simulator: str = Field("", description="Simulator ('rvtool plugins --kind simulator'), or a run that makes images.")
    images: Path | None = Field(None, description="Dataset or folder of images that the run makes its own of.")
    label: str = Field("", description="Class that a generator's images are of. Default: all, as in its training.")
    set: dict[str, Any] = Field({}, description="Numbers that a generator makes images for, as condition.flux_jy=0.1.")
    config: dict[str, Any] = Field({}, description="The simulator's own settings.")
    count: int | None = Field(
        None, ge=1, description="Images to simulate. Default: 1000, or as many as those that they are made of."
    )
    seed: int = Field(0, ge=0, description="Seed: the same seed gives the same images.")
    out: Path | None = Field(None, description="Dataset to make. Default: data/SIMULATOR.")
    split: str = Field("70/15/15", description="Parts for training, validation and test.")
    batch_size: int = Field(256, ge=1, description="Images simulated at a time; changes the speed, not the images.")
    workers: int = Field(0, ge=0, description="Processes that simulate, a core each (0: this one alone).")
    device: str = Field("auto", description="Where to simulate: cpu, cuda, cuda:1, ...; auto takes a GPU if it can.")
    planes_per_cube: int = Field(256, ge=1, description="Images in one FITS cube; the last cube holds the rest.")


@dataclass(frozen=True)
class Job:
    """What a process needs to know to make any cube of the dataset."""

    settings: Settings
    out: Path
    device: str

    count: int

    @property
    def cubes(self) -> int:
        """How many cubes there are."""
        return -(-self.count // self.settings.planes_per_cube)

    def indices(self, cube: int) -> range:
        """Return the indices of the images in a cube."""
        first = cube * self.settings.planes_per_cube
        return range(first, min(first + self.settings.planes_per_cube, self.count))


def _simulator(settings: Settings) -> Simulator:
    """Build the simulator, or make one of a run.

    Raises
    ------
    ConfigError
        Nobody offers it, a setting does not fit, or the run makes no images.
    """
    from rvtool.plugins import component
    from rvtool.runs.run import is_run, load_run

    if is_run(settings.simulator):
        return _of_run(settings, load_run(settings.simulator))
    for option, value in (("images", settings.images), ("label", settings.label), ("set", settings.set)):
        if value:
            raise ConfigError(f"--{option} is for runs, and '{settings.simulator}' is a simulator; leave it out.")
    chosen = component("simulator", settings.simulator)
    simulator: Simulator = chosen.load()(chosen.configure(settings.config))
    return simulator


def _of_run(settings: Settings, run: Run) -> Simulator:
    """Make a simulator of a run that makes images: of others, or by chance.

    Raises
    ------
    ConfigError
        It makes none, or is asked for what it cannot do.
    """
    from rvtool.plugins import component, components

    of_images = run.task == "translation" or (run.task == "generation" and run.data.target is not None)
    if not of_images and not hasattr(component("model", run.record["model"]).load(), "sample"):
        raise ConfigError(
            f"{run.path} is a run of '{run.record['model']}', which makes no images; "
            f"name a simulator ({', '.join(components('simulator'))})."
        )
    if of_images and settings.images is None:
        raise ConfigError(f"{run.path} makes images of others; name them: --images DATASET.")
    if of_images:
        from rvtool.runs.translated import Translated

        if settings.label or settings.set:
            raise ConfigError(
                f"{run.path} makes images of others, which say what they are of; leave --label and --set out."
            )
        assert settings.images is not None
        return Translated(run, settings.images)
    if settings.images is not None:
        raise ConfigError(f"{run.path} makes images by chance, of no others; leave --images out.")
    from rvtool.runs.generated import Generated

    for kind in settings.set:
        if kind != "condition":
            raise unknown("kind of setting of a run", kind, ("condition",))
    return Generated(run, settings.label, settings.set.get("condition", {}))


def _source(settings: Settings) -> dict[str, Any]:
    """Say what made the images, for the dataset's record."""
    from rvtool.plugins import component, version_of
    from rvtool.runs.run import is_run, load_run

    if is_run(settings.simulator):
        run = load_run(settings.simulator)
        asked = {"images": str(settings.images or ""), "label": settings.label, "set": settings.set}
        told = {name: value for name, value in asked.items() if value}
        return {"name": run.task, "run": str(run.path.resolve()), "seed": settings.seed, **told}
    config = component("simulator", settings.simulator).configure(settings.config)
    return {
        "name": settings.simulator,
        "version": version_of("simulator", settings.simulator),
        "seed": settings.seed,
        "settings": {key: value for key, value in config.model_dump(mode="json").items() if value is not None},
    }


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Simulate a dataset.

    Images go to FITS cubes ``images/cube-00000.fits`` of `planes_per_cube` planes each (targets to
    ``images/target-00000.fits``), their true parameters to the manifest. Every image is a group of its own: no two
    share pixels. The same call goes on where one was interrupted.

    Returns
    -------
    dict
        ``out``, ``images``, ``splits`` (how many images each part has) and ``headline``.

    Raises
    ------
    ConfigError
        A setting does not fit.
    DataError
        The output folder exists, or the disk is full.
    """
    from rvtool.data.dataset import write_side
    from rvtool.data.splits import parse_fractions
    from rvtool.data.writer import DatasetWriter, interrupted
    from rvtool.plugins import components
    from rvtool.report.progress import counted

    if not settings.simulator:
        raise ConfigError(
            f"Name the simulator ({', '.join(components('simulator'))}), for example: "
            "rvtool simulate radio-galaxy --count 100 --out data/sim"
        )
    parse_fractions(settings.split)  # before the work, not after it
    simulator = _simulator(settings)
    for told in getattr(simulator, "differences", ()):
        console.print(f"Mind: {told}", style="yellow", markup=False, highlight=False)
    made_of = getattr(simulator, "rows", None)
    count = settings.count or (DEFAULT_COUNT if made_of is None else len(made_of))
    job = Job(settings, settings.out or Path("data") / Path(settings.simulator).name, _device(settings.device), count)
    what = json.dumps(_what(settings, count), sort_keys=True)
    goes_on = interrupted(job.out) == what
    if goes_on:
        console.print(f"{job.out} was interrupted; going on.", markup=False, highlight=False, soft_wrap=True)
    with DatasetWriter(job.out, again=goes_on, what=what) as writer, counted(console, "Simulating") as move:
        for cube, columns in enumerate(_cubes(job, simulator)):
            writer.rows(columns)
            move(job.indices(cube).stop, count)
        source = _source(settings)
        sides = {name: write_side(side) for name, side in _sides(simulator).items()}
        dataset, _ = writer.finish({**sides, "source": source}, split=settings.split, seed=settings.seed)
        shutil.rmtree(job.out / PARTS)
    parts = dataset.column("split").tolist()
    splits = {part: parts.count(part) for part in ("train", "val", "test")}
    told = ", ".join(f"{number} {part}" for part, number in splits.items())
    console.print(f"Simulated {count} images ({told}).")
    console.print(str(job.out), markup=False, highlight=False, soft_wrap=True)
    return {"out": str(job.out), "images": count, "splits": splits, "headline": f"{count} images"}


def _what(settings: Settings, count: int) -> dict[str, Any]:
    """Return all that the images depend on."""
    from rvtool.runs.run import is_run, load_run

    left_out = {"batch_size", "workers", "device", "out", "count"}
    what = {**settings.model_dump(mode="json", exclude=left_out), "count": count}
    return what | ({"run": load_run(settings.simulator).sha256} if is_run(settings.simulator) else {})


def _cubes(job: Job, simulator: Simulator) -> Iterator[dict[str, Any]]:
    """Write every cube, here or in processes, and give the manifest's columns of each in order."""
    import multiprocessing

    import torch

    if job.settings.workers == 0:
        # the tensors are small: on a busy machine torch's threads wait for each other far longer than they save
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for cube in range(job.cubes):
                yield _write_cube(job, simulator, cube)
        finally:
            torch.set_num_threads(threads)
        return

    # spawned, because a fork of a process whose torch has started its threads may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(job.settings.workers, context, _start_worker, (job,)) as pool:
        waiting: deque[Future[dict[str, Any]]] = deque()
        try:
            for cube in range(job.cubes):
                waiting.append(pool.submit(_work, cube))
                if len(waiting) > 2 * job.settings.workers:  # enough to keep all busy, few enough to hold
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_worker: tuple[Job, Simulator] | None = None


def _start_worker(job: Job) -> None:
    """Build the simulator once a process, on one thread: the processes share the cores."""
    global _worker
    import torch

    torch.set_num_threads(1)
    _worker = job, _simulator(job.settings)


def _work(cube: int) -> dict[str, Any]:
    assert _worker is not None
    return _write_cube(*_worker, cube)


def _write_cube(job: Job, simulator: Simulator, cube: int) -> dict[str, Any]:
    """Simulate and write one cube of each side, and last its columns, by which it is known to be whole.

    Returns
    -------
    The manifest's columns of these images.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    from rvtool.data.files import write_bytes, writing

    settings, indices = job.settings, job.indices(cube)
    part = job.out / PARTS / f"{cube:05d}.parquet"
    if part.exists():
        known = pq.read_table(part)
        return {name: known[name] for name in known.column_names}
    sides = _sides(simulator)
    planes = {
        name: np.empty((len(indices), side.channels, side.height, side.width), np.float32)
        for name, side in sides.items()
    }
    columns: dict[str, list[np.ndarray]] = {}
    for first in range(0, len(indices), settings.batch_size):
        some = torch.tensor(indices[first : first + settings.batch_size], dtype=torch.int64)
        batch = simulator.simulate(some, settings.seed, torch.device(job.device))
        for name, cubed in planes.items():
            pixels = batch[name]
            if (mask := batch.get(SIDES[name])) is not None:
                pixels = torch.where(mask, pixels, torch.nan)  # what FITS says of an unknown pixel
            cubed[first : first + len(some)] = pixels.cpu().numpy()
        for name, values in batch.items():
            if name == "label" or name not in NO_PARAMETERS:
                columns.setdefault(name, []).append(values.cpu().numpy())

    rows = _rows(simulator, indices)
    for name, side in sides.items():
        path = f"images/{'cube' if name == 'image' else name}-{cube:05d}.fits"
        write_bytes(job.out / path, _fits(planes[name], side))
        prefix = "" if name == "image" else f"{name}_"
        rows |= {f"{prefix}path": [path] * len(indices), f"{prefix}plane": np.arange(len(indices))}
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    words = {**({"label": simulator.info.classes} if simulator.info.classes else {}), **simulator.info.words}
    for name, meanings in words.items():
        rows[name] = [meanings[number] for number in whole.pop(name)]
    with writing(part) as stream:
        pq.write_table(pa.table({**rows, **whole}), stream)
    return {**rows, **whole}


def _rows(simulator: Simulator, indices: range) -> dict[str, Any]:
    """Return the columns that say which images these are, with what is known of those that they are made of.

    What is made of one image stays in its group and its part of the splits.
    """
    made_of = getattr(simulator, "rows", None)
    if made_of is None:
        return {"id": [f"{index:08d}" for index in indices], "group": list(indices)}
    kept = [name for name in made_of.column_names if name not in (*OF_FILES, *OF_PIXELS)]
    rows: dict[str, Any] = made_of.select(kept).take([index % len(made_of) for index in indices]).to_pydict()
    rounds = [index // len(made_of) for index in indices]
    rows["id"] = [f"{name}#{number}" if number else name for name, number in zip(rows["id"], rounds, strict=True)]
    return rows


def _sides(simulator: Simulator) -> dict[str, Side]:
    """Return the sides that a simulator makes, by the names they have in a batch.

    Raises
    ------
    PluginError
        A side has two channels, or more than three, for which FITS has no name.
    """
    sides = {name: side for name in SIDES if (side := getattr(simulator.info, name)) is not None}
    for name, side in sides.items():
        if side.channels not in (1, COLOURS):
            raise PluginError(
                f"{type(simulator).__name__} makes a {name} of {side.channels} channels; 'rvtool simulate' writes one "
                "or three."
            )
    return sides


def _fits(cube: np.ndarray, side: Side) -> bytes:
    """Pack images ``(N, C, H, W)`` as FITS, with unit, beam and what its axes are; it has no place on the sky."""
    import io

    from astropy.io import fits

    header = fits.Header()
    header["BUNIT"] = side.unit
    if side.beam is not None:
        header["BMAJ"], header["BMIN"] = side.beam.major_arcsec / 3600, side.beam.minor_arcsec / 3600
        header["BPA"] = side.beam.angle_deg
    if side.pixel_arcsec is not None:
        for axis in (1, 2):
            header[f"CDELT{axis}"], header[f"CUNIT{axis}"] = side.pixel_arcsec, "arcsec"
    if side.sample_s is not None:
        header["TIMESYS"] = ("LOCAL", "simulated: seconds since the beginning")
        header["CTYPE1"], header["CUNIT1"], header["CDELT1"] = "TIME", "s", side.sample_s
        header["CRPIX1"], header["CRVAL1"] = 0.5, 0.0
    if side.centre_mhz is not None and side.channel_mhz is not None:
        header["CTYPE2"], header["CUNIT2"], header["CDELT2"] = "FREQ", "Hz", side.channel_mhz * 1e6
        header["CRPIX2"], header["CRVAL2"] = (side.height + 1) / 2, side.centre_mhz * 1e6
    if side.channels == COLOURS:
        header["CTYPE3"] = "RGB"
    else:
        cube = cube[:, 0]
    header["ORIGIN"] = ("rvtool simulate", "simulated: no position on the sky")
    stream = io.BytesIO()
    fits.PrimaryHDU(cube, header).writeto(stream)
    return stream.getvalue()


def _device(name: str) -> str:
    """Check a device's name; ``auto`` is a GPU where there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch raises either, by what it was built with
        reason = str(error).splitlines()[0]
        raise ConfigError(f"Device '{name}' cannot be used ({reason}); try --device cpu.") from error
    return name
