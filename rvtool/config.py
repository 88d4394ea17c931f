"""Settings: what every component's and every verb's config is derived from."""

from __future__ import annotations

import keyword
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveInt, model_validator


class Config(BaseModel):
    """A flat, frozen record of settings.

    Every field has a default and ``Field(description=...)`` with the unit, and bounds where it has any.
    Fields become command-line options and recipe keys by their names. An empty word where there may be nothing is
    nothing, for TOML has no word of its own for that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        may_be_none = {name for name, field in cls.model_fields.items() if type(None) in get_args(field.annotation)}
        return {name: None if value == "" and name in may_be_none else value for name, value in given.items()}


def field_name(key: str) -> str:
    """Return the field that a person means: ``size-arcmin`` is `size_arcmin`, ``class`` is `class_`."""
    name = key.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def typed_name(field: str) -> str:
    """Return a field's name as a person types it: the inverse of `field_name`."""
    return field.removesuffix("_").replace("_", "-")


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""A tuple of names, typed as one comma-separated word: ``--classes FRI,FRII``."""

Numbers = Annotated[tuple[float, ...], BeforeValidator(_split)]
"""A tuple of numbers, typed as one comma-separated word: ``--size-arcsec 10,60``."""

Sizes = Annotated[tuple[PositiveInt, ...], BeforeValidator(_split)]
"""A tuple of whole numbers above 0, typed as one comma-separated word: ``--channels 32,64``."""
