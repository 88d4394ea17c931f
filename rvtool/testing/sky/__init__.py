"""A stand-in for the sky and its services: a simulated sky behind the addresses and formats of the real ones.

`answer` serves a source's request in this process, `sky_server` runs the whole over HTTP in another, and
``python -m rvtool.testing.sky`` does so from a shell. The server can be slow, busy and faulty, always in the same way.
"""

from __future__ import annotations

from rvtool.testing.sky.answers import answer as answer
from rvtool.testing.sky.asked import Answer as Answer
from rvtool.testing.sky.asked import Asked as Asked
from rvtool.testing.sky.asked import Route as Route
from rvtool.testing.sky.running import Running as Running
from rvtool.testing.sky.running import sky_server as sky_server
from rvtool.testing.sky.running import targets_csv as targets_csv
from rvtool.testing.sky.sky import Sky as Sky
from rvtool.testing.sky.sky import Thing as Thing

__all__ = ["Answer", "Asked", "Route", "Running", "Sky", "Thing", "answer", "sky_server", "targets_csv"]
