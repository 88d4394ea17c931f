"""The services of a collection: its sources as plugins give them, and the addresses at which they are really asked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rvtool import plugins
from rvtool.config import field_name
from rvtool.errors import ConfigError
from rvtool.kinds import Catalogues, Fetches, SourceInfo

URL = re.compile(r"^(https?://|file:)", re.IGNORECASE)


@dataclass(frozen=True)
class Service:
    """A source that takes part, and where its requests go.

    Attributes
    ----------
    name
        The source's name.
    source
        The source itself, built from its settings.
    base_url
        What stands in for its addresses, or ``""``.
    """

    name: str
    source: Any
    config: Any = None
    base_url: str = ""

    @property
    def info(self) -> SourceInfo:
        """The source's facts."""
        return self.source.info

    def actual(self, url: str) -> str:
        """Return where a request to `url` really goes."""
        for known in (self.info.base_url, *self.info.further_urls):
            if self.base_url and known and url.startswith(known):
                return self.base_url.rstrip("/") + url[len(known) :]
        return url

    def mirrors(self, origin: str) -> tuple[str, ...]:
        """Return the addresses that may stand in for one of this service that is down."""
        here = (origin_of(self.info.base_url), *map(origin_of, self.info.mirrors))
        return () if self.base_url or origin not in here else tuple(o for o in here if o != origin)

    def wider(self, factor: int) -> Service | None:
        """Return this service asking for a field that is `factor` times as wide; None where it has no such setting."""
        size = getattr(self.config, "size_arcmin", None)
        if size is None:
            return None
        try:
            config = type(self.config)(**{**self.config.model_dump(), "size_arcmin": size * factor})
            return Service(self.name, type(self.source)(config), config, self.base_url)
        except ValueError:  # beyond what the service gives
            return None
        except ConfigError:
            return None


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, without credentials; ``"file:"`` for local files."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return "file:"
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def services(names: Sequence[str], settings: Any) -> list[Service]:
    """Build the named sources from the settings of a collection; they ask for the field of the first, unless told.

    Raises
    ------
    ConfigError
        There is no such source, or its settings or its address are wrong.
    """
    first, *others = names
    built = [service(first, settings)]
    size = getattr(built[0].config, "size_arcmin", None)
    return built + [service(name, settings, size) for name in others]


def service(name: str, settings: Any, size_arcmin: float | None = None) -> Service:
    """Build a source from the settings of a collection (see `services`), for a field where its settings name none."""
    component = plugins.component("source", name)
    nested = settings.set.get("source", {}).get(name, {})
    given = {**(settings.config if name == settings.source else {}), **nested}
    if size_arcmin is not None and "size_arcmin" in component.config.model_fields:
        given = {"size_arcmin": size_arcmin, **{field_name(key): value for key, value in given.items()}}
    config = component.configure(given)
    return Service(name, component.load()(config), config, base_url(name, settings.base_url))


def base_url(name: str, given: Sequence[str]) -> str:
    """Return the address that stands in for a source's own: as typed, else from the environment, else ``""``.

    Raises
    ------
    ConfigError
        It is no address.
    """
    found = ""
    for text in given:
        head, equals, rest = text.partition("=")
        named = equals and not URL.match(text)
        if not named:
            found = text
        elif head == name:
            found = rest
            break
    found = found or os.environ.get(f"RVTOOL_BASE_URL_{name.upper().replace('-', '_')}", "")
    if found and not URL.match(found):
        raise ConfigError(f"'{found}' is no address for source '{name}'; it begins with http:// or https://.")
    return found


def check_names(settings: Any) -> None:
    """Refuse settings of sources that do not exist.

    Raises
    ------
    ConfigError
        Named so.
    """
    for kind in settings.set:
        if kind != "source":
            raise ConfigError(
                f"--set {kind}...: 'rvtool collect' has settings of sources only (source.NAME.FIELD=...)."
            )
    named = [text.partition("=")[0] for text in settings.base_url if "=" in text and not URL.match(text)]
    for name in (*settings.set.get("source", {}), *(n for n in named if n != "sesame")):
        plugins.component("source", name)


def catalogues_of(label: str, settings: Any, first: Sequence[Service] = ()) -> list[Service]:
    """Return the sources that can list objects of a class; of those that fetch the images, only those that can.

    Raises
    ------
    ConfigError
        No source offers the class; the nearest names are told.
    """
    from rvtool.errors import unknown

    known: dict[str, list[str]] = {}
    for name, component in plugins.components("source").items():
        for offered in getattr(component.load(), "classes", ()):
            known.setdefault(_plain(offered), []).append(name)
    if _plain(label) not in known:
        raise unknown("class", label, known, hint="(offered by the installed sources)")
    mine = {s.name: s for s in first}
    return [mine.get(name) or service(name, settings) for name in known[_plain(label)]]


def class_name(label: str, source: Any) -> str:
    """Return a class by the name that a source gives it: ``spiral galaxy`` may be typed for ``spiral_galaxy``."""
    return next(offered for offered in source.classes if _plain(offered) == _plain(label))


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", "_", label.strip()).casefold()


def fetches(service: Service) -> bool:
    """Tell whether a source gives images."""
    return isinstance(service.source, Fetches)


def lists(service: Service) -> bool:
    """Tell whether a source gives targets out of a catalogue."""
    return isinstance(service.source, Catalogues)


def credentials_hidden(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the passwords of addresses: what may be written down."""
    hidden = dict(values)
    hidden["base_url"] = [re.sub(r"//[^/@]*@", "//", url) for url in values.get("base_url", ())]
    return hidden
