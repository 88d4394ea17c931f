"""Augmenters that disturb images, each against its definition."""

import math

import numpy as np
import pytest
import torch

from rvtool.data import stretch
from rvtool.errors import ConfigError
from rvtool.kinds import Beam, DataInfo, Side
from rvtool.plugins import component
from rvtool.testing import check_augmenter
from rvtool_plugins.augmenters import extreme, levels

SPECTRUM = DataInfo(Side(1, 24, 96, "frequency-time"))
SKY = DataInfo(Side(1, 40, 56))
ON_SPECTRA = ("baseline-drift", "channel-dropout", "rfi", "scintillation", "spikes", "time-mask")


def build(name, data, **settings):
    chosen = component("augmenter", name)
    return chosen.load()(chosen.configure(settings), data)


def flat(data, size=200, background=2.0, peak=12.0):
    """Images at their background; the statistics tell of a peak 10 above."""
    image = torch.full((size, data.image.channels, data.image.height, data.image.width), background)
    statistics = torch.tensor([[background, 0.5, peak]]).repeat(size, 1)
    return {"image": image, "mask": torch.ones_like(image[:, :1], dtype=torch.bool), "image_statistics": statistics}


def disturb(name, data, batch=None, seed=0, **settings):
    batch = flat(data) if batch is None else batch
    return build(name, data, **settings)(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", [*ON_SPECTRA, "extreme"])
def test_the_contract_holds_on_oblong_spectra(name):
    check_augmenter(component("augmenter", name), data=SPECTRUM)


def test_what_fits_which_axes():
    axes = {name: set(component("augmenter", name).load().axes) for name in (*ON_SPECTRA, "elastic", "extreme")}
    both = {"rfi", "spikes", "extreme"}
    assert {name for name, fits in axes.items() if fits == {"sky", "frequency-time"}} == both
    assert {name for name, fits in axes.items() if fits == {"frequency-time"}} == set(ON_SPECTRA) - both
    assert axes["elastic"] == {"sky"}


def test_the_measure_of_a_batch_is_that_of_the_stretch():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 3, 9, 11, generator=generator)
    mask = torch.rand(4, 1, 9, 11, generator=generator) < 0.7
    mask[:, :, 0, 0] ^= mask.sum(dim=(2, 3)) % 2 == 0  # of an odd number the median is one of them
    expected = [stretch.measure(one.numpy(), known[0].numpy()) for one, known in zip(image, mask, strict=True)]
    torch.testing.assert_close(levels.measure(image, mask), torch.from_numpy(np.stack(expected)))


def test_statistics_follow_the_disturbance_and_keep_what_was_varied_before():
    batch = flat(SPECTRUM, size=1)
    batch["image"][0, 0, 5, 5] = 10.0  # dimmed before, on purpose: the statistics still say 12
    image = batch["image"].clone()
    image[0, 0, 7, 7] = 13.0
    after = levels.replaced(batch, image)
    assert after["image_statistics"].tolist() == [[2.0, 0.5, 15.0]]
    everything = levels.replaced(batch, image, torch.zeros_like(batch["mask"]))
    assert everything["image_statistics"].isfinite().all()


# --------------------------------------------------------------------------- rfi, spikes, drift


def test_rfi_lines_of_spectra_are_straight_and_of_their_width():
    for broadband, axis in ((0.0, 3), (1.0, 2)):
        after = disturb("rfi", SPECTRUM, max_lines=1, max_width_px=4, broadband_probability=broadband)
        lines = after["image"][:, 0] - 2.0
        assert torch.equal(lines, lines.select(axis - 1, 0).unsqueeze(axis - 1).expand_as(lines))  # the same all along
        widths = (lines.select(axis - 1, 0) > 0).sum(dim=1)
        assert set(widths.tolist()) == {1, 2, 3, 4}
        highest = lines.amax(dim=(1, 2))
        assert 0 < highest.min() < 0.1 < 2.8 < highest.max() <= 0.3 * 10
        torch.testing.assert_close(after["image_statistics"][:, 2], 12 + highest)  # the brightest pixel was 2


def test_a_fringe_on_the_sky_is_a_straight_wave_of_its_amplitude():
    after = disturb("rfi", SKY, max_lines=1, max_fringe_fraction=0.2, max_period_px=16)
    fringe = (after["image"][:, 0] - 2.0).double()
    # a plane wave obeys w(y - 1, x) + w(y + 1, x) = 2 cos(k_y) w(y, x), and so across
    rates = []
    for axis in (1, 2):
        middle = fringe.narrow(axis, 1, fringe.shape[axis] - 2)
        around = fringe.narrow(axis, 0, middle.shape[axis]) + fringe.narrow(axis, 2, middle.shape[axis])
        cosine = (around * middle).sum(dim=(1, 2)) / middle.square().sum(dim=(1, 2)) / 2
        torch.testing.assert_close(around, 2 * cosine[:, None, None] * middle, atol=1e-5, rtol=0)
        rates.append(cosine.clamp(-1, 1).arccos())
    period = 2 * math.pi / torch.hypot(*rates)
    assert 3.99 < period.min() < 5 < 13 < period.max() < 16.1
    amplitude = fringe.abs().amax(dim=(1, 2))
    assert 1.8 < amplitude.max() <= 0.2 * 10 + 1e-5
    assert fringe.mean(dim=(1, 2)).abs().median() < 0.02  # no mean: an interferometer measures none


def test_a_spike_has_the_width_of_the_beam_where_there_is_one():
    sky = DataInfo(Side(1, 40, 40, pixel_arcsec=1.5, beam=Beam(9.0, 4.0)))  # a round one of 6 arcsec, 4 px
    for data, width in ((sky, 4.0), (DataInfo(Side(1, 40, 40, "frequency-time")), 2.5)):
        after = disturb("spikes", data, max_spikes=1, width_px=2.5, max_peak_fraction=0.4)
        spike = (after["image"][:, 0] - 2.0).clamp(min=0).double()
        assert 3.0 < spike.amax(dim=(1, 2)).max() <= 4.0
        inner = (spike.amax(dim=(1, 2)) > 0.5) & (spike[:, [0, -1]].amax(dim=(1, 2)) < 1e-9)
        inner &= spike[:, :, [0, -1]].amax(dim=(1, 2)) < 1e-9
        assert inner.sum() > 20
        flux, pixels = spike[inner].sum(dim=(1, 2)), torch.arange(40.0).double()
        for profile in (spike[inner].sum(dim=1), spike[inner].sum(dim=2)):
            mean = (profile * pixels).sum(dim=1) / flux
            spread = ((profile * pixels**2).sum(dim=1) / flux - mean**2).sqrt()
            torch.testing.assert_close(spread * 2.35482, torch.full_like(spread, width), rtol=0.01, atol=0)


def test_the_baseline_drifts_alike_in_all_channels_and_keeps_its_mean():
    after = disturb("baseline-drift", SPECTRUM, max_peak_fraction=0.2, max_cycles=1.0)
    drift = after["image"][:, 0] - 2.0
    assert torch.equal(drift, drift[:, :1].expand_as(drift))
    assert drift.mean(dim=(1, 2)).abs().max() < 1e-5
    assert 0.5 < drift.abs().max() <= 2 * 0.2 * 10
    turns = (drift[:, 0].diff().sign().diff() != 0).sum(dim=1)
    assert turns.max() == 2  # one cycle at most: a crest and a trough
    assert turns.min() == 0


# --------------------------------------------------------------------------- gaps


@pytest.mark.parametrize(("name", "axis"), [("channel-dropout", 2), ("time-mask", 3)])
def test_gaps_are_unknown_and_of_their_width(name, axis):
    length = (SPECTRUM.image.height, SPECTRUM.image.width)[axis - 2]
    batch = flat(SPECTRUM)
    batch["mask"][:, :, 3, 4] = False
    batch["target"], batch["target_mask"] = batch["image"], torch.ones_like(batch["mask"])
    after = disturb(name, SPECTRUM, batch, max_gaps=1, max_width=0.25)
    lost = batch["mask"] & ~after["mask"]
    along = lost.any(dim=5 - axis)[:, 0]  # (B, length)
    widths = along.sum(dim=1)
    assert set(widths.tolist()) == set(range(1, length // 4 + 1))
    edges = torch.nn.functional.pad(along.int(), (1, 1)).diff(dim=1).abs().sum(dim=1)
    assert (edges == 2).all()  # one gap, nowhere broken
    across = along[:, None, :, None] if axis == 2 else along[:, None, None, :]
    assert torch.equal(after["mask"], batch["mask"] & ~across)
    assert (after["image"][~after["mask"]] == 0).all()
    assert (after["image"][after["mask"]] == 2).all()
    assert torch.equal(after["target"], batch["target"])
    assert after["target_mask"].all()


# --------------------------------------------------------------------------- scintillation


def test_scintillation_keeps_the_mean_and_has_its_modulation_and_scales():
    data = DataInfo(Side(1, 48, 96, "frequency-time"))
    batch = flat(data, size=300)
    batch["image"] += 1.0  # a source of 1 above a background of 2: the gain is what is above
    batch["image_statistics"][:, 1] = 0.0
    batch["target"], batch["target_mask"] = batch["image"], batch["mask"]
    batch["target_statistics"] = batch["image_statistics"]
    settings = {"max_modulation": 1.0, "bandwidth_channels": 3.0, "timescale_samples": 6.0}
    after = disturb("scintillation", data, batch, **settings)
    gain = after["image"][:, 0] - 2.0
    assert torch.equal(after["target"], after["image"])
    assert gain.min() >= -1e-5
    assert gain.mean().item() == pytest.approx(1, abs=0.01)
    # m is even in 0 .. 1, so the mean of m^2 is 1/3
    assert (gain - 1).square().mean().item() == pytest.approx(1 / 3, abs=0.03)
    # the covariance is 2 s (1 - s) r + (s r)^2, r^2 being 1/2 at the bandwidth and 1/e at the timescale
    for along, across, squared in ((gain[:, 3:], gain[:, :-3], 0.5), (gain[..., 6:], gain[..., :-6], 1 / math.e)):
        strong = 5 / 3 - math.pi / 2  # the mean of s^2 = (1 - sqrt(1 - m^2))^2
        expected = (1 / 3 - strong) * math.sqrt(squared) + strong * squared
        assert ((along - 1) * (across - 1)).mean().item() == pytest.approx(expected, abs=0.025)


def test_noise_does_not_scintillate():
    data = DataInfo(Side(1, 48, 96, "frequency-time"))
    batch, empty = flat(data, size=50), flat(data, size=50)
    batch["image_statistics"][:, 1] = 0.0
    batch["image"] += 1.0
    gain = disturb("scintillation", data, batch)["image"] - 2.0  # the same seed gives the same gain
    empty["image"] += 0.5 * torch.randn(50, 1, 48, 96, generator=torch.Generator().manual_seed(1))
    noise = disturb("scintillation", data, empty)["image"] - 2.0
    noise /= 0.5 * gain.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    for part in (gain < 0.7, (gain > 0.9) & (gain < 1.1), gain > 1.3):
        assert noise[part].std().item() == pytest.approx(1, abs=0.03)


# --------------------------------------------------------------------------- elastic


def spot(height, width, y, x, sigma):
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


def centroids(images):
    total = images.sum(dim=(1, 2))
    rows, columns = torch.arange(images.shape[1]), torch.arange(images.shape[2])
    return (
        torch.stack([(images.sum(dim=2) * rows).sum(dim=1), (images.sum(dim=1) * columns).sum(dim=1)], 1)
        / total[:, None]
    )


def test_the_target_bends_with_its_image_by_the_same_angle():
    # the target has twice the pixels over half the field: 0.5 arcsec instead of 1, and 40 of them instead of 40
    data = DataInfo(Side(1, 40, 40, pixel_arcsec=1.0), Side(1, 40, 40, pixel_arcsec=0.5))
    batch = flat(data, size=100)
    batch["image"] = spot(40, 40, 23.5, 16.5, 1.5).expand(100, 1, 40, 40)  # 4 down and 3 to the left of the centre
    batch["target"] = spot(40, 40, 27.5, 13.5, 3.0).expand(100, 1, 40, 40)
    batch["target_mask"] = batch["mask"]
    after = disturb("elastic", data, batch, max_displacement_px=2.0, smoothness_px=40.0)
    image = centroids(after["image"][:, 0]) - torch.tensor([23.5, 16.5])
    target = centroids(after["target"][:, 0]) - torch.tensor([27.5, 13.5])
    assert image.abs().max() > 2
    assert (target - 2 * image).abs().max() < 0.1 * (2 * image).abs().max()
    rms = image.square().mean().sqrt()  # the deviation is even in 0 .. 2, so its mean square is 4/3
    assert rms.item() == pytest.approx(math.sqrt(4 / 3), rel=0.25)
    lost = ~after["mask"].all(dim=(1, 2, 3))
    assert lost.any()
    assert (after["image"][~after["mask"]] == 0).all()


# --------------------------------------------------------------------------- extreme


@pytest.mark.parametrize(("data", "parts"), [(SKY, 4), (SPECTRUM, 7)])
def test_extreme_draws_as_many_as_it_is_told_for_each_image(data, parts):
    made = build("extreme", data, probability=0.75, min_parts=2, max_parts=4)
    assert len(made.parts) == parts
    chosen = made.choose(4000, torch.Generator().manual_seed(0))
    counts = chosen.sum(dim=1).bincount(minlength=5) / 4000
    torch.testing.assert_close(counts, torch.tensor([0.25, 0, 0.25, 0.25, 0.25]), atol=0.03, rtol=0)
    torch.testing.assert_close(chosen.float().mean(dim=0), torch.full((parts,), 0.75 * 3 / parts), atol=0.03, rtol=0)


def test_extreme_does_what_its_parts_do_and_spares_the_others(monkeypatch):
    monkeypatch.setattr(extreme, "PARTS", ("baseline-drift", "rfi"))
    batch = flat(SPECTRUM, size=64) | {"index": torch.arange(64)}
    made = build("extreme", SPECTRUM, probability=0.5, min_parts=1, max_parts=1)
    after = made(batch, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    chosen = made.choose(64, generator)
    for name, mine in zip(("baseline-drift", "rfi"), chosen.unbind(1), strict=True):
        some = {key: value[mine] for key, value in batch.items()}
        expected = build(name, SPECTRUM)(some, generator)
        for key, value in expected.items():
            assert torch.equal(after[key][mine], value), (name, key)
    spared = ~chosen.any(dim=1)
    assert 10 < spared.sum() < 54
    assert torch.equal(after["image"][spared], batch["image"][spared])


def test_extreme_refuses_a_range_upside_down():
    with pytest.raises(ConfigError, match="must not be less than min_parts"):
        build("extreme", SKY, min_parts=3, max_parts=2)
