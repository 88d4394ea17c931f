"""The bound that is asked for, as it is typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

_TYPED = re.compile(r"\s*((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*(sigma)?\s*")


@dataclass(frozen=True)
class ErrorBound:
    """The largest allowed error of a pixel: in the image's unit, or in units of its noise; infinite for none."""

    value: float
    in_sigma: bool

    @classmethod
    def parse(cls, text: str) -> ErrorBound:
        """Read ``0.25sigma``, ``1e-5``, or ``none``.

        Raises
        ------
        ValueError
            It is neither.
        """
        if text.strip() == "none":
            return cls(inf, in_sigma=False)
        match = _TYPED.fullmatch(text)
        if not match or not 0 < float(match[1]) < inf:
            raise ValueError("give a positive number with or without 'sigma', such as 0.25sigma or 1e-5, or 'none'")
        return cls(float(match[1]), in_sigma=match[2] is not None)
