"""The dynamic-spectrum simulator: delays, lines, noise and losses are what physics and its columns say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from rvtool.data.dataset import open_dataset, read_side, side_of
from rvtool.data.fits import read_image
from rvtool.errors import ConfigError
from rvtool.kinds import Batch
from rvtool.plugins import component
from rvtool.verbs.simulate import Settings, run
from rvtool_plugins.simulators.dynamic_spectrum import CLASSES, DynamicSpectrumConfig, fields, lines
from rvtool_plugins.simulators.dynamic_spectrum.simulator import DynamicSpectrum

CPU = torch.device("cpu")
GOOD: dict[str, Any] = {"quality_mix": (1, 0, 0)}
CLEAN: dict[str, Any] = {**GOOD, "rfi_channels": (0, 0, 0), "rfi_bursts": (0, 0, 0), "baseline_fraction": (0, 0, 0)}
SMALL: dict[str, Any] = {"channels": 64, "samples": 128, "channel_mhz": 1.0, "period_min_s": 0.03}


def simulate(indices: int | torch.Tensor, seed: int = 0, **settings: Any) -> Batch:
    indices = torch.arange(indices) if isinstance(indices, int) else indices
    return DynamicSpectrum(DynamicSpectrumConfig(**settings)).simulate(indices, seed, CPU)


def same(a: Batch, b: Batch) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---------------------------------------------------------------- contract


def test_is_found_by_name_and_gives_every_column():
    made = component("simulator", "dynamic-spectrum")
    built = made.load()(made.configure({"channels": 64, "samples": 128, "channel_mhz": 1.0}))
    side = built.info.image
    assert built.info.classes == CLASSES
    assert (side.axes, side.unit) == ("frequency-time", "Jy")
    assert (side.centre_mhz, side.channel_mhz, side.sample_s) == (1404.0, 1.0, 0.002)
    batch = built.simulate(torch.tensor([5, 2, 9]), 0, CPU)
    assert batch["image"].shape == batch["mask"].shape == (3, 1, 64, 128)
    assert batch["label"].tolist() == [1, 2, 1]
    expected = {"dm_pc_cm3", "period_s", "flux_jy", "redshift", "hi_width_km_s", "electron_temperature_k", "noise_jy"}
    assert expected <= batch.keys()
    for name in batch.keys() - {"image", "mask"}:
        assert batch[name].shape == (3,), name
        assert bool(torch.isfinite(batch[name]).all()), name
    assert not batch["dm_pc_cm3"].any()  # no pulsar among these


def test_an_index_has_one_image_whatever_the_batch():
    indices = torch.arange(12)
    whole = simulate(indices, 3, **SMALL)
    alone = [simulate(indices[i : i + 1], 3, **SMALL) for i in range(12)]
    assert same(whole, {name: torch.cat([one[name] for one in alone]) for name in whole})
    backwards = simulate(indices.flip(0), 3, **SMALL)
    assert same(whole, {name: values.flip(0) for name, values in backwards.items()})
    assert not torch.equal(whole["image"], simulate(indices, 4, **SMALL)["image"])


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"classes": "pulsar,blazar"}, "no class is named 'blazar'"),
        ({"quality_mix": "1,1"}, "needs 3 numbers"),
        ({"quality_mix": "0,0,0"}, "one quality at least"),
        ({"dropped_fraction": "0,0,0.9"}, "at most 0.5"),
        ({"period_min_s": 0.9}, "third of the observation"),
        ({"channel_mhz": 20.0}, "as wide as its middle frequency"),
        ({"centre_mhz": 1600.0}, "No line of 'spiral-galaxy' lies between 1568 and 1632 MHz"),
        ({"centre_mhz": 1412.0, "channel_mhz": 0.1}, "No line of 'emission-nebula'"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(settings: dict[str, Any], what: str):
    made = component("simulator", "dynamic-spectrum")
    with pytest.raises(ConfigError, match=what):
        made.load()(made.configure(settings))


# ---------------------------------------------------------------- pulsars


def test_pulses_are_late_by_the_dispersion():
    made = DynamicSpectrum(DynamicSpectrumConfig(**CLEAN, classes="pulsar", dm_min_pc_cm3=100.0))
    sources, _ = made._on(CPU)
    indices = torch.arange(4)
    batch = made.simulate(indices, 0, CPU)
    columns = {name: values for name, values in batch.items() if values.ndim == 1}
    columns["pulse_modulation"] = torch.zeros(4)
    pulses = sources.pulses(columns, indices, 0).double()  # (B, C, T), without noise
    ghz = (1404.0 + 0.5 * (np.arange(128) - 63.5)) / 1000
    seconds = 0.002 * (np.arange(1024) + 0.5)
    for row in range(4):
        period, dm = float(batch["period_s"][row]), float(batch["dm_pc_cm3"][row])
        turn = np.exp(2j * np.pi * seconds / period)
        whole = int(int(2.048 / period) * period / 0.002)  # samples of whole periods
        phase = np.angle(pulses[row, :, :whole].numpy() @ turn[:whole])
        late = np.unwrap(phase) / (2 * np.pi) * period
        expected = 4.149e-3 * dm * (ghz**-2 - 1.404**-2)
        np.testing.assert_allclose(late - late.mean(), expected - expected.mean(), atol=1e-3)
        mean = float(pulses[row, :, :whole].mean())
        assert mean == pytest.approx(float(batch["flux_jy"][row]), rel=0.15)  # whole periods to a sample; scintillation


def test_a_plain_fit_finds_the_dispersion_measure():
    """Shift every channel's harmonics of the period back by a trial's delay, and take the trial of the largest sum."""
    batch = simulate(24, **GOOD, classes="pulsar", dm_min_pc_cm3=100.0)
    width = batch["pulse_width_s"]
    sharp = batch["flux_jy"] / batch["noise_jy"] * torch.sqrt(batch["period_s"] / width) / width
    ghz = (1404.0 + 0.5 * (np.arange(128) - 63.5)) / 1000
    delay = 4.149e-3 * (ghz**-2 - 1.404**-2)
    seconds, trials = 0.002 * (np.arange(1024) + 0.5), np.arange(60.0, 340.0, 0.5)
    for row in torch.argsort(sharp)[-4:].tolist():  # the error of a delay goes as 1 / sharp
        image = batch["image"][row, 0].double().numpy()
        image -= image.mean(1, keepdims=True)
        image[np.abs(image) > 5 * 1.4826 * np.median(np.abs(image))] = 0
        turns = 2j * np.pi * np.arange(1, 11) / float(batch["period_s"][row])
        harmonics = image @ np.exp(-turns * seconds[:, None])  # (C, 10)
        sums = [np.abs((harmonics * np.exp(turns * dm * delay[:, None])).sum(0)) for dm in trials]
        found = trials[np.argmax((np.array(sums) ** 2).sum(1))]
        assert found == pytest.approx(float(batch["dm_pc_cm3"][row]), rel=0.02)


# ---------------------------------------------------------------- lines


def test_recombination_lines_are_where_they_were_measured():
    assert lines.recombination_mhz(166) == pytest.approx(1424.734, abs=1e-3)  # Lilley & Palmer 1968
    assert lines.recombination_mhz(167) == pytest.approx(1399.368, abs=1e-3)
    assert lines.recombination_mhz(109) == pytest.approx(5008.923, abs=1e-3)
    assert lines.levels_between(1372.0, 1436.0) == [166, 167, 168]


def test_lines_of_a_nebula_and_a_galaxy_stand_at_their_frequencies():
    settings: dict[str, Any] = {**CLEAN, "channels": 2560, "channel_mhz": 0.025, "samples": 64, "period_min_s": 0.02}
    made = DynamicSpectrum(DynamicSpectrumConfig(**settings, classes="spiral-galaxy,emission-nebula"))
    sources, _ = made._on(CPU)
    batch = made.simulate(torch.arange(8), 0, CPU)
    kind = batch["label"] + 2
    columns = {name: values for name, values in batch.items() if values.ndim == 1}
    with_lines = sources.spectrum(kind, columns).double()
    without = {**columns, "hi_flux_jy_km_s": torch.zeros(8), "electron_temperature_k": torch.full((8,), 1e12)}
    only = (with_lines - sources.spectrum(kind, without)).numpy()  # (B, C), the lines alone
    mhz = sources.mhz.double().numpy()
    for row in range(0, 8, 2):
        line, width = only[row].clip(0), float(batch["hi_width_km_s"][row])
        speed = 299792.458 * (1 - mhz * (1 + float(batch["redshift"][row])) / 1420.405752)
        np.testing.assert_allclose(line.sum() * abs(speed[1] - speed[0]), batch["hi_flux_jy_km_s"][row], rtol=0.01)
        inside = speed[line > 0.3 * line.max()]
        assert np.ptp(inside) == pytest.approx(width, abs=35)  # turbulence and channels widen the edges
        assert inside.min() + inside.max() == pytest.approx(0, abs=30)
        assert line[np.abs(speed) < width / 8].mean() < 0.7 * line.max()  # two horns
    for row in range(1, 8, 2):
        fwhm = float(batch["line_width_km_s"][row])
        for rest in (1424.734, 1399.368, 1374.600):
            centre = rest * (1 - float(batch["velocity_km_s"][row]) / 299792.458)
            near = np.abs(mhz - centre) < 1
            line, at = only[row][near], mhz[near]
            assert (line * at).sum() / line.sum() == pytest.approx(centre, abs=0.01)
            half = at[line > line.max() / 2]
            assert np.ptp(half) / rest * 299792.458 == pytest.approx(fwhm, abs=8)


# ---------------------------------------------------------------- scintillation and the receiver


def test_scintillation_keeps_the_mean_and_has_its_index_and_its_time():
    made = DynamicSpectrum(DynamicSpectrumConfig(**{**SMALL, "classes": ("quasar",)}))
    sources, _ = made._on(CPU)
    count = 500
    columns = {
        "scintillation_s": torch.full((count,), 0.02),
        "scintillation_mhz": torch.full((count,), 1000.0),
        "scintillation_index": torch.full((count,), 0.4),
        "refractive_s": torch.full((count,), 0.1),
        "refractive_index": torch.zeros(count),
    }
    gain = sources.scintillation(columns, torch.arange(count), 0)[:, 32].double()  # (B, T), less 1
    assert float(gain.mean()) == pytest.approx(0, abs=0.03)
    assert float(gain.std()) == pytest.approx(0.4, rel=0.08)
    later = (gain[:, 10:] * gain[:, :-10]).mean() / gain.square().mean()  # 0.02 s
    assert float(later) == pytest.approx(math.exp(-1), abs=0.05)


def test_strong_scattering_is_fast_narrow_and_slow():
    branch = fields.branches(torch.tensor([0.5, 1.0, 8.0]))
    assert branch["index"].tolist() == pytest.approx([0.5 ** (5 / 6), 1, 1])
    assert branch["time"].tolist() == pytest.approx([1, 1, 1 / 8])
    assert branch["band"].tolist() == pytest.approx([1, 1, 1 / 64])
    assert branch["slow_index"].tolist() == pytest.approx([0, 0, 0.5])


def test_noise_follows_the_radiometer_equation():
    batch = simulate(40, **{**SMALL, **CLEAN}, classes="spiral-galaxy")
    power = 5 + batch["background_jy"] + batch["flux_jy"]
    expected = power / math.sqrt(2 * 1e6 * 0.002)
    torch.testing.assert_close(batch["noise_jy"], expected)
    steady = batch["image"][:, 0] - batch["image"][:, 0].mean(2, keepdim=True)
    ratio = steady.flatten(1).double().std(1) / expected
    assert float(ratio.mean()) == pytest.approx(math.sqrt(127 / 128), abs=0.004)  # a channel's mean is taken off
    assert float((ratio - 1).abs().max()) < 0.04
    assert steady.abs().amax() / expected.amax() < 5


def test_qualities_differ_as_stated():
    batch = simulate(400, **SMALL)
    parts = batch["quality"].bincount(minlength=3) / 400
    assert parts.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.07)
    means = {
        name: [float(batch[name][batch["quality"] == level].float().mean()) for level in range(3)]
        for name in ("sefd_jy", "rfi_channels", "rfi_bursts", "unknown_fraction")
    }
    assert means["sefd_jy"] == pytest.approx([5, 10, 20])
    assert means["rfi_channels"] == pytest.approx([1, 3, 6], rel=0.25)
    assert means["rfi_bursts"] == pytest.approx([1, 3, 6], rel=0.25)
    assert means["unknown_fraction"] == pytest.approx([0, 0.05, 0.15], abs=0.02)
    assert not batch["image"][~batch["mask"]].any()


# ---------------------------------------------------------------- on the disk


def test_axes_travel_to_the_disk_and_back(tmp_path: Path):
    settings = Settings(
        simulator="dynamic-spectrum", config={**SMALL, "quality_mix": (0, 0, 1)}, count=8, out=tmp_path / "sim"
    )
    run(settings, Console(quiet=True))
    dataset = open_dataset(tmp_path / "sim")
    side = read_side(dataset.info["image"], 1, 64, 128)
    assert side == DynamicSpectrum(DynamicSpectrumConfig(**SMALL)).info.image
    assert set(dataset.column("quality")) == {"poor"}
    image, batch = dataset.image(3), simulate(8, **SMALL, quality_mix=(0, 0, 1))
    np.testing.assert_array_equal(image.mask, batch["mask"][3, 0].numpy())
    np.testing.assert_array_equal(image.data[:, image.mask], batch["image"][3][:, batch["mask"][3, 0]].numpy())

    from astropy.io import fits
    from astropy.wcs import WCS

    path = tmp_path / "sim" / "images" / "cube-00000.fits"
    wcs = WCS(fits.getheader(path), naxis=2)
    seconds, hertz = wcs.pixel_to_world_values([0, 127], [0, 63])
    np.testing.assert_allclose(seconds, [0.001, 0.255])
    np.testing.assert_allclose(hertz, [1372.5e6, 1435.5e6])
    assert side_of(read_image(path)) == dataset.info["image"]  # a file alone says as much
    half = read_side(dataset.info["image"], 1, 32, 32, zoom=2.0)
    assert (half.channel_mhz, half.sample_s, half.centre_mhz) == (2.0, 0.004, 1404.0)
