"""The adversarial generator: sizes, growing, who learns from what."""

from functools import partial

import pytest
import torch

from rvtool import plugins
from rvtool.errors import ConfigError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import compose
from rvtool.learning.critic import critic_loss
from rvtool_plugins.models.dcgan import DCGANConfig
from rvtool_plugins.models.dcgan.model import DCGAN, _moved, levels_of

CLASSES = {"classes": ("a", "b"), "class_counts": (10, 30)}


def model(height=32, width=32, channels=1, data=None, **config):
    data = data or DataInfo(Side(channels, height, width), **CLASSES)
    torch.manual_seed(0)
    losses = compose([], DCGAN.roles, {}, data, partial(plugins.component, "loss"))
    return DCGAN(DCGANConfig(**{"width": 4, "most": 16, **config}), data, losses)


@pytest.mark.parametrize(
    ("height", "width", "coarsest"), [(32, 32, (4, 4)), (96, 64, (6, 4)), (112, 112, (7, 7)), (256, 256, (4, 4))]
)
def test_sizes(height, width, coarsest):
    assert levels_of(Side(1, height, width))[1] == coarsest
    made = model(height, width, channels=2).eval().sample(torch.arange(2), 0, torch.device("cpu"))
    assert made.shape == (2, 2, height, width)


@pytest.mark.parametrize("sides", [(144, 144), (16, 16), (50, 50), (512, 512)])
def test_other_sizes_are_refused(sides):
    with pytest.raises(ConfigError, match="--resize"):
        levels_of(Side(1, *sides))


def test_growing_begins_coarse_and_ends_whole():
    found = model(64, 64, progressive=True)
    assert found.stage(0.0) == (0, 1.0)
    assert found.stage(0.25) == (2, 0.0)  # half of the growing: the third level of four begins to come in
    assert found.stage(0.28)[1] == pytest.approx(2 * 0.24, rel=1e-6)
    assert found.stage(0.5) == found.stage(1.0) == (3, 1.0)


def test_a_level_comes_in_without_a_jump():
    found = model(64, 64, progressive=True).eval()
    numbers = torch.randn(2, 100)
    asked = {"label": torch.tensor([0, 1])}
    coarse = found.make(numbers, asked, 1, 1.0)
    beginning = found.make(numbers, asked, 2, 0.0)
    assert coarse.shape[-1] == 16
    torch.testing.assert_close(beginning, torch.nn.functional.interpolate(coarse, scale_factor=2))
    picture = torch.rand(2, 1, 32, 32)
    torch.manual_seed(1)
    judged = found.critic(picture, None, 2, 0.0)[0][0]
    torch.testing.assert_close(judged, found.critic(torch.nn.functional.avg_pool2d(picture, 2), None, 1, 1.0)[0][0])


def test_each_optimiser_has_its_own_parameters_and_all_are_had():
    found = model()
    sets = [{id(p) for g in optimizer.param_groups for p in g["params"]} for optimizer in found.configure_optimizers()]
    assert not sets[0] & sets[1]
    assert sets[0] | sets[1] == {id(p) for p in found.parameters()}
    assert all(id(p) in sets[1] for p in found.critic.parameters())
    assert all(id(p) in sets[0] for p in found.maker.parameters())


def test_the_critic_looks_at_the_class():
    found = model().eval()
    picture = torch.rand(2, 1, 32, 32)
    one, other = (
        found.critic(picture, found.said_of({"label": torch.full((2,), label)}, torch.zeros(2) > 0), 2, 1.0)[0][0]
        for label in (0, 1)
    )
    assert not torch.allclose(one, other)


def test_a_class_that_is_asked_for_changes_the_image():
    found = model().eval()
    device = torch.device("cpu")
    one, other = (found.sample(torch.arange(2), 0, device, {"label": torch.full((2,), label)}) for label in (0, 1))
    assert not torch.allclose(one, other)


def test_backgrounds_that_were_clipped_are_clipped():
    found = model()
    image = torch.zeros(4, 1, 32, 32)
    image[:, :, 10:20, 10:20] = torch.linspace(0.2, 1, 400).reshape(4, 1, 10, 10)
    found.observe({"image": image})
    assert found.least == pytest.approx(0.2 + 0.05 * 0.8, rel=1e-2)
    lifted = found.lift(image)
    assert lifted[lifted > 0].min() == pytest.approx(0.4)
    torch.testing.assert_close(found.lower(lifted)[image > 0.3], image[image > 0.3])
    made = torch.tensor([-0.1, 0.05, 0.15, 0.5], requires_grad=True)
    snapped = found.snap(made)
    assert snapped.tolist() == pytest.approx([0, 0, 0.2, 0.5])
    snapped.sum().backward()
    assert made.grad.tolist() == [1, 1, 1, 1]
    assert found.lower(snapped).tolist() == pytest.approx([0, 0, 0, 0.3])
    found.observe({"image": 2 * image})  # the first batch counts
    assert found.least < 0.3
    noisy = model()
    noisy.observe({"image": torch.randn(4, 1, 32, 32)})
    numbers = torch.tensor([-0.1, 0.05])
    assert noisy.lower(noisy.snap(noisy.lift(numbers))) is numbers


def test_images_move_whole():
    picture = torch.zeros(50, 1, 16, 16)
    picture[:, :, 8, 8] = 1
    moved = _moved(picture, 0.25)
    places = moved[:, 0].flatten(1).argmax(1)
    assert moved.sum() == 50
    assert len(places.unique()) > 10
    rows, columns = places // 16, places % 16
    assert torch.stack([rows, columns]).min() >= 4
    assert torch.stack([rows, columns]).max() <= 12
    assert _moved(picture, 0.0) is picture


def test_the_critic_does_not_move_the_maker():
    found = model()
    asked = {"label": torch.tensor([0, 1, 1, 0])}
    made = found.make(torch.randn(4, 100), asked, 2, 1.0)
    total, told = critic_loss(
        found.losses.of("adversarial"), lambda x: found.judge(x, asked, 2, 1.0), torch.rand_like(made), made.detach()
    )
    total.backward()
    assert all(p.grad is None for p in found.maker.parameters())
    assert any(p.grad is not None for p in found.critic.parameters())
    assert 0 <= told["critic-accuracy"] <= 1
