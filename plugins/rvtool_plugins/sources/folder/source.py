"""Images that lie in a folder already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rvtool.data.fits import count_planes, suffix_of
from rvtool.data.folder import scan
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Absent, Beam, Found, Reply, Request, SourceInfo, Target
from rvtool_plugins.sources.folder import FolderConfig


class Folder:
    """Offers every image of a folder, with what its ``labels.csv`` or its sub-folders say of it.

    Raises
    ------
    ConfigError
        No folder is named.
    """

    def __init__(self, config: FolderConfig) -> None:
        if config.path is None:
            raise ConfigError(
                "Source 'folder' needs --path DIR, for example: "
                "rvtool collect --source folder --path images --out data/mine"
            )
        self.root = config.path
        self.info = SourceInfo(
            base_url=self.root.resolve().as_uri(),
            unit=config.unit,
            pixel_arcsec=config.pixel_arcsec or None,
            beam=Beam(config.beam_arcsec, config.beam_arcsec) if config.beam_arcsec else None,
        )

    def targets(self) -> Iterator[Target]:
        """List the images, each with its ``file`` (and ``target_file``) and what the ``labels.csv`` says of it."""
        table = scan(self.root)
        rows = table.to_pylist()
        if "plane" in table.column_names:
            rows = self._one_a_file(rows)
        for row in rows:
            row["file"] = row.pop("path")
            if "target_path" in row:
                row["target_file"] = row.pop("target_path")
            name = row.pop("id").removesuffix(":0")
            yield Target(name, row.pop("ra_deg", None), row.pop("dec_deg", None), row)

    def _one_a_file(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Make one target of all planes of a file: whoever keeps it counts them.

        Raises
        ------
        DataError
            The planes of a file differ in what is said of them, or some are left out.
        """
        files: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            files.setdefault(row["path"], []).append(row)
        for path, planes in files.items():
            said = [{k: v for k, v in row.items() if k not in ("id", "plane")} for row in planes]
            if said.count(said[0]) < len(said) or len(planes) < count_planes(self.root / path):
                raise DataError(
                    f"{self.root / 'labels.csv'} tells the planes of {path} apart, which collecting would lose; write "
                    f"one image a file, or train on the folder as it is (--data {self.root})."
                )
        return [{k: v for k, v in planes[0].items() if k != "plane"} for planes in files.values()]

    def request(self, target: Target) -> Request:
        """Ask for the target's file, and for its pair's."""
        pair = target.columns.get("target_file")
        return Request(self._uri(target.columns["file"]), pair=Request(self._uri(pair)) if pair else None)

    def read(self, target: Target, reply: Reply) -> Found | Absent:
        """Take the bytes as they are."""
        if reply.status != 200:
            return Absent(f"{reply.request.url}: {reply.body.decode(errors='replace')}")
        pair = self.read(target, reply.pair) if reply.pair is not None else None
        if isinstance(pair, Absent):
            return pair
        return Found(reply.body, suffix_of(reply.request.url) or "", pair=pair)

    def _uri(self, file: str) -> str:
        return (self.root.resolve() / file).as_uri()
