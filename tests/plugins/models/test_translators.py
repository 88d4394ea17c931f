"""The networks of pix2pix and srgan: where they attend, how far they see, what does not depend on brightness."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvtool import plugins
from rvtool.errors import ConfigError, DataError
from rvtool.kinds import DataInfo, Side
from rvtool.learning import compose
from rvtool_plugins.models.pix2pix.model import Attention, UNet


def build(name, image, target, **config):
    component = plugins.component("model", name)
    kind = component.load()
    data = DataInfo(Side(1, *image), Side(1, *target))
    losses = compose([], kind.roles, {}, data, partial(plugins.component, "loss"))
    torch.manual_seed(0)
    return kind(component.configure({"critic_width": 4, **config}), data, losses).eval()


def sides_attended(model, image):
    """Return the side of every map that attends to itself."""
    seen = []
    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    model(torch.zeros(1, 1, *image))
    return seen


def test_attention_sits_at_the_stated_resolution():
    assert sides_attended(build("pix2pix", (256, 256), (256, 256), width=4), (256, 256)) == [64, 32, 32, 64]
    assert sides_attended(build("pix2pix", (150, 150), (150, 150), width=4), (150, 150)) == [40, 40]
    assert sides_attended(build("pix2pix", (64, 64), (64, 64), width=4, attention="16"), (64, 64)) == [16, 16]
    assert sides_attended(build("pix2pix", (64, 64), (64, 64), width=4, attention="1"), (64, 64)) == []


def test_attention_is_its_formula():
    torch.manual_seed(0)
    attention = Attention(16).double()
    attention.weight.data.fill_(0.7)
    maps = torch.randn(2, 16, 5, 6, dtype=torch.float64)
    query, key, value = (layer(maps).flatten(2) for layer in (attention.query, attention.key, attention.value))
    seen = torch.einsum("bcn,bmn->bcm", value, torch.einsum("bcm,bcn->bmn", query, key).softmax(dim=2))
    torch.testing.assert_close(attention(maps), maps + 0.7 * seen.reshape(maps.shape))


@settings(max_examples=15)
@given(st.integers(20, 90), st.integers(20, 90), st.sampled_from(["unet", "transformer"]))
def test_images_of_any_size_come_out_at_their_size(height, width, generator):
    config = plugins.component("model", "pix2pix").configure({"width": 4, "generator": generator, "blocks": 1})
    unet = UNet(1, 2, (height, width), config).eval()
    with torch.no_grad():
        assert unet(torch.zeros(1, 1, height, width)).shape == (1, 2, height, width)
        assert unet(torch.zeros(1, 1, height + 7, width + 3)).shape == (1, 2, height + 7, width + 3)


def test_eight_levels_at_256_pixels_as_published():
    model = build("pix2pix", (256, 256), (256, 256), attention="1", width=64)
    assert model.generator.levels == 8
    assert len(list(model.critic.scales)) == 3


@pytest.mark.parametrize("generator", ["srresnet", "rrdb"])
def test_a_sky_twice_as_bright_comes_out_twice_as_bright(generator):
    model = build("srgan", (12, 12), (48, 48), blocks=2, width=8, generator=generator)
    image = torch.randn(1, 1, 12, 12)
    torch.testing.assert_close(model(image * 1000), model(image) * 1000, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("generator", "upsampling"), [("srresnet", "once"), ("srresnet", "steps"), ("rrdb", "once")])
def test_nothing_is_seen_beyond_the_reach(generator, upsampling):
    model = build("srgan", (90, 90), (180, 180), blocks=1, width=8, generator=generator, upsampling=upsampling)
    image = torch.randn(1, 1, 90, 90)
    other = image.clone()
    other[..., 45, 45] += 10
    changed = (model(image) - model(other)).abs().amax(dim=(0, 1)) > 0
    rows = changed.any(dim=1).nonzero()
    assert 45 - rows.min().item() / 2 <= model.reach
    assert rows.max().item() / 2 - 45 <= model.reach
    assert changed.any()


@pytest.mark.parametrize(
    ("name", "image", "target", "error", "says"),
    [
        ("pix2pix", (16, 16), (16, 16), ConfigError, "smaller than a patch"),
        ("pix2pix", (64, 64), (128, 128), ConfigError, "put both on one grid, or train srgan"),
        ("srgan", (32, 32), (96, 96), ConfigError, "finer by 3"),
        ("srgan", (32, 32), (65, 64), DataError, "no whole multiple"),
    ],
)
def test_sizes_that_do_not_fit_are_told(name, image, target, error, says):
    with pytest.raises(error, match=says):
        build(name, image, target)
