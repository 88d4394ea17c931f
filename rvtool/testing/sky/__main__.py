"""``python -m rvtool.testing.sky``: the stand-in from a shell; the first line that it prints is its URL."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rvtool.errors import RvtoolError
from rvtool.testing.sky.faults import FAULTS, USUAL
from rvtool.testing.sky.server import Settings, SkyServer


def main() -> None:
    """Run the server until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m rvtool.testing.sky", description="A stand-in for sky services.")
    add = parser.add_argument
    add("--port", type=int, default=0, help="0: any free one")
    add("--seed", type=int, default=0, help="of the sky, the latencies and the faults")
    add("--latency", type=_range, default=(0.0, 0.0), metavar="MIN,MAX", help="before an answer, seconds")
    add("--faults", type=float, default=0.0, help="fraction of the requests that meet a fault")
    add("--fault", action="append", choices=FAULTS, metavar="NAME", help=f"one of {', '.join(FAULTS)} (repeatable)")
    add("--every", action="store_true", help="a fault meets every attempt, not only the first")
    add("--limit", type=float, default=0.0, help="requests a second beyond which the answer is 429 (0: none)")
    add("--down", action="append", default=[], metavar="PATH", help="beginning of a path that answers 503 (repeatable)")
    add("--tied", action="store_true", help="stop when the standard input ends")
    said = parser.parse_args()
    settings = Settings(
        seed=said.seed,
        latency_s=said.latency,
        faults=said.faults,
        names=tuple(said.fault or USUAL),
        every=said.every,
        limit_per_s=said.limit,
        down=tuple(said.down),
    )
    try:
        asyncio.run(_serve(settings, said.port, said.tied))
    except KeyboardInterrupt:
        pass
    except (RvtoolError, OSError) as error:
        sys.exit(f"The server cannot start: {error}")


def _range(text: str) -> tuple[float, float]:
    least, _, most = text.partition(",")
    return float(least), float(most or least)


async def _serve(settings: Settings, port: int, tied: bool) -> None:
    server, url = await SkyServer(settings).start(port)
    print(url, flush=True)
    stop = asyncio.Event()
    if tied:
        asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    main()
