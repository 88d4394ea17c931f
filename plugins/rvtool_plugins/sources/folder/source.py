"""Images that lie in a folder already."""

from __future__ import annotations

from collections.abc import Iterator

from rvtool.data.fits import suffix_of
from rvtool.data.folder import scan
from rvtool.errors import ConfigError
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
        if "plane" in table.column_names:  # one target a file: whoever keeps it counts its planes
            table = table.filter(table["plane"].to_numpy() == 0).drop_columns(["plane"])
        for row in table.to_pylist():
            row["file"] = row.pop("path")
            if "target_path" in row:
                row["target_file"] = row.pop("target_path")
            name = row.pop("id").removesuffix(":0")
            yield Target(name, row.pop("ra_deg", None), row.pop("dec_deg", None), row)

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
