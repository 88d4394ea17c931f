"""The one record that describes anything a plugin offers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rvtool.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Component:
    """What a plugin's hook returns: a name, a sentence, settings, and where the code is.

    Parameters
    ----------
    name
        What the user types, for example ``"alhassan-cnn"``.
    summary
        One line for tables and ``--help``.
    config
        The settings: a flat pydantic model. Every field has a default, a description
        with its unit, and bounds; unknown fields are forbidden (derive it from `rvtool.Config`).
    target
        ``"package.module:Class"``, imported on first use, so that declaring costs nothing.
    """

    name: str
    summary: str
    config: type[BaseModel]
    target: str

    def load(self) -> Any:
        """Import the target.

        Raises
        ------
        PluginError
            The module does not import, or has no such attribute.
        """
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"'{self.name}' cannot be loaded from {self.target}: {type(error).__name__}: {error}. "
                "Reinstall or update the package that provides it."
            ) from error

    def configure(self, settings: Mapping[str, Any] | None = None) -> Any:
        """Check settings against `config` and return the validated record.

        Raises
        ------
        ConfigError
            A field is unknown or has a value out of its bounds.
        """
        return validate(self.config, settings or {}, f"'{self.name}'")


def validate(config: type[BaseModel], settings: Mapping[str, Any], where: str) -> Any:
    """Validate `settings` as a `config`, telling what is wrong in one sentence.

    Parameters
    ----------
    config
        A pydantic model.
    settings
        Field name to value; ``-`` and ``_`` mean the same in a name.
    where
        Whose settings these are, as the sentence should name it.
    """
    from pydantic import ValidationError

    from rvtool.config import field_name
    from rvtool.errors import unknown

    named = {field_name(key): value for key, value in settings.items()}
    for key in named:
        if key not in config.model_fields:
            raise unknown("setting", key, config.model_fields, hint=f"(settings of {where})")
    try:
        return config(**named)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        given = f", got {first['input']!r}" if field else ""
        raise ConfigError(f"Setting '{field}' of {where}: {reason}{given}.") from error
