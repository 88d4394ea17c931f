"""What rvtool raises on purpose.

RvtoolError                every error that the command line prints as one sentence
├── ConfigError            a setting, a name or a recipe that a person typed is wrong: say the nearest right one
├── PluginError            a plugin is broken, or does not keep its kind's contract: name the distribution
├── DataError              a file, a dataset or a run cannot be used as it is: name it and say what to do
│   └── WriteError         nothing can be written there: no fault of the image at hand
└── SourceError            a remote service refused, vanished or sent nonsense: name the service and the request

Anything else that reaches the command line is a bug and shows its traceback.
A message is one sentence: what, where, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable


class RvtoolError(Exception):
    """An error that a user can act upon."""


class ConfigError(RvtoolError):
    """A setting, a name or a recipe that a person typed is wrong."""


class PluginError(RvtoolError):
    """A plugin is broken or does not keep the contract of its kind."""


class DataError(RvtoolError):
    """A file, a dataset or a run cannot be used as it is."""


class WriteError(DataError):
    """Nothing can be written there: the disk is full, or the place may not be written to."""


class SourceError(RvtoolError):
    """A remote service refused, vanished or sent something that is no answer."""


def unknown(what: str, name: str, known: Iterable[str], hint: str = "") -> ConfigError:
    """Build the error for a name that nobody knows, with the nearest known names.

    Parameters
    ----------
    what
        What kind of thing was named, for example ``"model"``.
    name
        What the user typed.
    known
        Every name that would have been right.
    hint
        A last clause that says where to look.
    """
    from difflib import get_close_matches

    choices = sorted(known)
    near = get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        advice = "did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    elif choices:
        advice = "known: " + ", ".join(choices) + "."
    else:
        advice = "none is installed."
    return ConfigError(f"No {what} is named '{name}': {advice}" + (f" {hint}" if hint else ""))
