"""The Python twin of quickstart.toml: the same verbs with the same settings.

python examples/quickstart.py
"""

from pathlib import Path

from rich.console import Console

from rvtool.verbs import compress, evaluate, simulate, train

OUT = Path("quickstart-python")


def main(count: int = 2000, epochs: int = 12) -> None:
    """Simulate, train, judge, and compress a simulated field."""
    console = Console()
    galaxies = {"size": 64, "classes": "FRI,FRII,Bent,Compact", "bent_from_deg": 45}
    field = {"size": 512, "field_sources_per_deg2": 2000}
    simulate.run(
        simulate.Settings(simulator="radio-galaxy", count=count, config=galaxies, out=OUT / "galaxies"), console
    )
    train.run(train.Settings(model="alhassan-cnn", data=OUT / "galaxies", epochs=epochs, out=OUT / "run"), console)
    evaluate.run(evaluate.Settings(runs=(str(OUT / "run"),), out=OUT / "evaluation"), console)
    simulate.run(simulate.Settings(simulator="radio-galaxy", count=4, config=field, out=OUT / "field"), console)
    cube = OUT / "field" / "images" / "cube-00000.fits"
    compress.run(compress.Settings(files=(cube,), max_error="0.25sigma", out=OUT / "field.rv.fits"), console)


if __name__ == "__main__":
    main()
