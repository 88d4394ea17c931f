"""A trained network that only looks at images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from typing import Self


class Eye:
    """A trained network that only looks: what some of its layers make of an image.

    It is no module, so that the one that asks it has none of it in its weights, its optimisers or its averages, and
    copies of the one that asks share it. Gradients go through it to the image.

    Parameters
    ----------
    network
        What is called with images; it is changed to stay as it is: evaluating, without gradients of its own.
    layers
        Names of the layers within it that are looked at. What comes after the last of them is not computed.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.count, self.seen = len(layers), list[Tensor]()
        for layer in network.modules():
            if getattr(layer, "inplace", False):
                layer.inplace = False  # type: ignore[assignment] # or it would overwrite what the layer before it gave
        for name in layers:
            network.get_submodule(name).register_forward_hook(self._see)

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Return the layers' outputs, in the order in which they are computed."""
        self.seen = []
        with suppress(_SeenEnoughError):
            self.network.to(image.device)(image)
        seen, self.seen = self.seen, []
        return seen

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _see(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self.seen.append(output)
        if len(self.seen) == self.count:
            raise _SeenEnoughError  # the rest may be dense layers, for images of one size


class _SeenEnoughError(Exception):
    pass
