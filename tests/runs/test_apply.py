"""How a classifier is asked: in which views, with dropout, and on which axes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from rvtool.data.stretch import FittedStretch, Stretch
from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.runs.apply import Asking, as_read, ask, symmetries


class Model(nn.Module):
    """Two classes by the brightness of the first pixel; remembers what it was asked."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.dropout, self.asked = nn.Dropout(dropout), []

    def predict(self, batch):
        self.asked.append(batch["image"])
        first = self.dropout(torch.ones(len(batch["image"]))) * batch["image"][:, 0, 0, 0]
        return torch.stack([first.sigmoid(), 1 - first.sigmoid()], dim=1)


def run_of(model, axes="sky"):
    info = DataInfo(Side(1, 3, 3, axes), None, "label", ("a", "b"), (1, 1))
    return SimpleNamespace(name="run", model=model.eval(), data=info)


def batch(height=3, width=3, count=2):
    image = torch.randn(count, 1, height, width, generator=torch.Generator().manual_seed(0))
    return {"image": image, "mask": image > 0, "condition": 2 * image, "label": torch.arange(count)}


@pytest.mark.parametrize(("height", "count"), [(3, 8), (2, 4)])
def test_symmetries_are_all_and_move_everything_alike(height, count):
    given = batch(height)
    views = list(symmetries(given))
    assert len({view["image"].numpy().tobytes() for view in views}) == len(views) == count
    for view in views:
        assert view["image"].shape == given["image"].shape
        torch.testing.assert_close(view["image"].flatten().sort().values, given["image"].flatten().sort().values)
        assert torch.equal(view["mask"], view["image"] > 0)
        assert torch.equal(view["condition"], 2 * view["image"])
        assert torch.equal(view["label"], given["label"])
    assert torch.equal(views[0]["image"], given["image"])


def test_the_answer_is_the_mean_over_the_views():
    given = batch()
    said = ask(run_of(Model()), [given], Asking())
    corners = given["image"][:, 0, [0, 0, 2, 2], [0, 2, 0, 2]].double()  # each is first in two of the eight views
    np.testing.assert_allclose(said.answers[:, 0], corners.sigmoid().mean(dim=1), rtol=1e-6)
    assert said.features is None


def test_what_cannot_differ_is_asked_once():
    spectrum, invariant, plain = Model(), Model(), Model()
    invariant.invariant = True
    ask(run_of(spectrum, "frequency-time"), [batch()], Asking())
    ask(run_of(invariant), [batch()], Asking())
    ask(run_of(plain), [batch()], Asking(symmetries=False))
    assert [len(model.asked) for model in (spectrum, invariant, plain)] == [1, 1, 1]


def test_dropout_passes_are_averaged_and_come_again():
    model = Model(dropout=0.5)
    run, given = run_of(model), batch()
    once = ask(run, [given], Asking(symmetries=False)).answers
    state = torch.get_rng_state()
    many = ask(run, [given], Asking(False, 2000)).answers
    assert torch.equal(torch.get_rng_state(), state)  # the caller's random numbers are left alone
    assert not model.dropout.training
    first = given["image"][:, 0, 0, 0].double()
    expected = ((2 * first).sigmoid() + 0.5) / 2  # dropped in half of the passes, doubled in the others
    np.testing.assert_allclose(many[:, 0], expected, atol=0.02)
    assert abs(many - once).max() > 0.05
    np.testing.assert_array_equal(many, ask(run, [given], Asking(False, 2000)).answers)


def test_dropout_passes_without_dropout_are_refused():
    with pytest.raises(ConfigError, match="run has no dropout"):
        ask(run_of(Model()), [batch()], Asking(dropout_passes=2))


def test_pixels_as_read_are_those_before_resampling():
    info = DataInfo(Side(1, 40, 40, pixel_arcsec=3.6), None, "label", ("a", "b"), (1, 1))  # of 80 px of 1.8 arcsec
    run = SimpleNamespace(data=info, stretch=FittedStretch(Stretch(crop=80, resize=40), 1.0))
    assert as_read(run).pixel_arcsec == pytest.approx(1.8)
    run.stretch = FittedStretch(Stretch(crop=40), 1.0)
    assert as_read(run) is info.image
