"""Losses, weighted and grouped by what they are for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from rvtool.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from rvtool.component import Component
    from rvtool.kinds import DataInfo, LossContext


@dataclass(frozen=True)
class Part:
    """One loss of a composition: its name, its weight, and the module."""

    name: str
    weight: float
    loss: nn.Module

    @property
    def role(self) -> str:
        """What the loss is for."""
        return str(self.loss.role)


class Losses(nn.Module):
    """Weighted sums of losses, one sum a role.

    ``losses(role, prediction, target, context)`` gives the weighted sum, and each part by name before its weight.
    """

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.of_parts = nn.ModuleList(part.loss for part in parts)  # moves them with the model, and lists parameters

    @property
    def specs(self) -> list[str]:
        """The losses as `compose` takes them: ``"name:weight"``."""
        return [f"{part.name}:{repr(part.weight).removesuffix('.0')}" for part in self.parts]

    def start(self) -> None:
        """Have losses that need files (pretrained weights, another run) load them, where they do so on first use.

        Raises
        ------
        RvtoolError
            A file is missing.
        """
        for part in self.parts:
            if hasattr(part.loss, "start"):
                part.loss.start()  # type: ignore[operator]

    def of(self, role: str) -> tuple[Part, ...]:
        """Return the parts of one role, for a model that calls them in its own way (an adversarial one)."""
        return tuple(part for part in self.parts if part.role == role)

    def forward(
        self, role: str, prediction: Tensor, target: Tensor, context: LossContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the losses of one role.

        Parameters
        ----------
        role
            One of the model's roles; a role without losses gives 0.
        prediction, target
            What each loss of this role compares, tensors; losses of lists (``features``) are called one by one (`of`).
        context
            The batch, and the images before the stretch where the model provides them.

        Returns
        -------
        total : scalar
            The sum of weight times loss.
        values : dict of scalars
            Each loss by name, without its weight and without gradient, for the log.
        """
        values = {part.name: part.loss(prediction, target, context) for part in self.of(role)}
        total = prediction.new_zeros(())
        for part in self.of(role):
            total = total + part.weight * values[part.name]
        return total, {name: value.detach() for name, value in values.items()}


def compose(
    specs: Sequence[str],
    roles: Mapping[str, Sequence[str]],
    settings: Mapping[str, Mapping[str, Any]],
    data: DataInfo,
    get_component: Callable[[str], Component],
    *,
    fixed_roles: Mapping[str, str] | None = None,
) -> Losses:
    """Build the losses of a model from what the user asked for.

    Parameters
    ----------
    specs
        ``"name"`` or ``"name:weight"``. A role that one of them fills loses its defaults; the others keep theirs.
    roles
        The model's roles with their default losses (`Model.roles`).
    settings
        Settings of each loss by its name.
    data
        What the losses are told of the data.
    get_component
        Finds a loss by name, and raises ConfigError for names that nobody offers
        (``functools.partial(rvtool.plugins.component, "loss")``).
    fixed_roles
        Roles that a user may not fill, with the reason (`Model.fixed_roles`).

    Raises
    ------
    ConfigError
        A name, weight or setting is wrong, is given twice, or does not suit the model's roles.
    PluginError
        A loss does not keep the contract of its kind.
    """
    asked = _build(specs, settings, data, get_component)
    for part in asked:
        if part.role not in roles:
            have = ", ".join(roles) or "none: its objective is its own"
            raise ConfigError(
                f"Loss '{part.name}' is for {part.role}, which this model does not have (its roles: {have}); "
                "leave it out or choose a loss of one of these roles ('rvtool plugins --kind loss')."
            )
        if reason := (fixed_roles or {}).get(part.role):
            raise ConfigError(f"Loss '{part.name}' cannot be set: this model fixes its {part.role} loss. {reason}")
    filled = {part.role for part in asked}
    defaults = [spec for role, own in roles.items() if role not in filled for spec in own]
    parts = asked + _build(defaults, settings, data, get_component)
    used = {part.name for part in parts}
    for name in settings:
        if name not in used:
            raise ConfigError(
                f"Settings are given for loss '{name}', which is not used (used: {', '.join(sorted(used)) or 'none'}); "
                f"add '--loss {name}' or take its settings out."
            )
    return Losses(parts)


def _build(
    specs: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    data: DataInfo,
    get_component: Callable[[str], Component],
) -> list[Part]:
    parts: list[Part] = []
    for spec in specs:
        name, weight = parse(spec)
        if any(part.name == name for part in parts):
            raise ConfigError(f"Loss '{name}' is given twice; give it once with the weight that is meant.")
        component = get_component(name)
        loss = component.load()(component.configure(settings.get(name)), data)
        if not isinstance(loss, nn.Module) or not isinstance(getattr(loss, "role", None), str):
            raise PluginError(
                f"Loss '{name}' ({component.target}) is no torch.nn.Module with a 'role'; its author should run "
                "rvtool.testing.check_loss on it."
            )
        parts.append(Part(name, weight, loss))
    return parts


def parse(spec: str) -> tuple[str, float]:
    """Split ``"name:weight"``; the weight is 1 where it is left out, and 0 only logs the loss.

    Raises
    ------
    ConfigError
        The weight is no number, infinite or negative.
    """
    name, colon, text = spec.partition(":")
    try:
        weight = float(text) if colon else 1.0
    except ValueError:
        weight = math.nan
    if not (0 <= weight < math.inf):
        raise ConfigError(f"Loss '{spec}': the weight must be a number of 0 or more, as in '{name.strip()}:10'.")
    return name.strip(), weight
