"""The steerable network: what a turn must not change."""

import math

import pytest
import torch

from rvtool.component import Component
from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import Losses
from rvtool.runs.apply import symmetries
from rvtool_plugins.models.steerable_cnn import rvtool_models
from rvtool_plugins.models.steerable_cnn.model import (
    GroupConvolution,
    Halve,
    Lift,
    Look,
    MarkCentre,
    Normalise,
    SteerableCNN,
    orbit,
)

COMPONENT: Component = rvtool_models()[0]


def network(size=32, **settings) -> SteerableCNN:
    data = DataInfo(Side(1, size, size), classes=("a", "b", "c"))
    torch.manual_seed(0)
    return SteerableCNN(COMPONENT.configure(settings), data, Losses())


@pytest.mark.parametrize("size", [32, 35, 38, 41])
@pytest.mark.parametrize(("stride", "zoom", "mark"), [(1, 1, 0), (2, 1, 0), (1, 2, 1.5), (1, 3, 0)])
def test_turns_and_mirror_images_get_the_same_answer(size, stride, zoom, mark):
    model = network(size, stride=stride, zoom=zoom, mark_centre_px=mark)
    batch = {"image": torch.randn(3, 1, size, size)}
    model.train()
    model(batch["image"])  # so that the running statistics are no trivial ones
    model.eval()
    answers = torch.stack([model.examine(view)[0] for view in symmetries(batch)])
    assert (answers - answers[0]).abs().max() < 1e-4
    assert answers[0].std(dim=0).max() > 1e-3  # and yet it answers different images differently


def test_maps_of_a_turned_image_are_the_turned_maps_in_turned_orientations():
    """The maps of orientation h in the image are those of orientation g h in the image that g has turned."""
    torch.manual_seed(0)
    lift, convolution, norm = Lift(2, 3, 5).double(), GroupConvolution(3, 4, 3).double(), Normalise(4).double()
    norm.eval()

    def maps(image):
        return norm(convolution(Halve()(lift(image)))).unflatten(1, (4, 8))

    image = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    plain = maps(image)
    for g, view in enumerate(orbit(image)):
        turned = maps(view)
        expected = orbit(plain)[g]
        # convolution.seen[g][h] = g^-1 h
        torch.testing.assert_close(turned, expected[:, :, convolution.seen[g]])


def test_a_look_is_the_middle_beside_the_whole():
    image = torch.arange(64.0).view(1, 1, 8, 8)
    seen = Look(2)(image)
    assert seen.shape == (1, 2, 4, 4)
    assert torch.equal(seen[0, 0], image[0, 0, 2:6, 2:6])
    assert seen[0, 1, 0].tolist() == [0, 6.5, 8.5, 0]  # without the corners
    assert seen[0, 1, 1].tolist() == [20.5, 22.5, 24.5, 26.5]
    assert Look(1)(image) is image


def test_the_mark_tells_where_the_centre_is():
    marked = MarkCentre(1.5)(torch.zeros(2, 1, 9, 9))
    assert marked[1, 1, 4, 4] == 1
    assert marked[0, 1, 4, 7] == pytest.approx(math.exp(-2))
    source = torch.zeros(2, 1, 64, 64)
    source[0, 0, 30:34, 30:34] = 1
    source[1] = source[0].roll((8, 8), (1, 2))  # far from the edges, so that padding tells nothing
    for mark, sees in ((0, False), (3, True)):
        model = network(64, zoom=1, channels="4,8", mark_centre_px=mark).eval()
        one, other = model(source)
        assert (one - other).abs().max().item() > 1e-3 or not sees
        assert (one - other).abs().max().item() < 1e-5 or sees


def test_orientations_form_a_group():
    seen = GroupConvolution(1, 1, 3).seen
    assert seen[0].tolist() == list(range(8))
    for row in seen:
        assert sorted(row.tolist()) == list(range(8))
    assert (seen.diagonal() == 0).all()  # g^-1 g


def test_fields_are_an_architecture_search():
    small, large = network(channels="2,3", depth=1), network(channels="2,3,4", depth=2, stem_kernel=3)
    assert [tuple(p.shape) for p in small.parameters() if p.ndim == 4] == [(2, 2, 5, 5), (3, 16, 3, 3)]
    assert sum(p.ndim == 4 for p in large.parameters()) == 5
    with pytest.raises(ConfigError, match="odd sides"):
        network(kernel=4)
