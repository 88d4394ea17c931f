import pytest
import torch

from rvtool.data.moves import Move
from rvtool.kinds import DataInfo, Side
from rvtool_plugins.augmenters import RotateFlipConfig, ScaleConfig, ShiftConfig
from rvtool_plugins.augmenters.geometry import RotateFlip, Scale, Shift, turns

DATA = DataInfo(Side(2, 16, 16, pixel_arcsec=2.0), Side(1, 8, 8, pixel_arcsec=4.0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape):
    return torch.randn(*shape, generator=generator(9))


def full(image):
    return torch.ones_like(image[:, :1], dtype=torch.bool)


def turned(image, angle_deg, flip=False, mode="bilinear"):
    size = len(image)
    matrices = turns(torch.full((size,), float(angle_deg)), torch.full((size,), flip))
    still = {"image": torch.zeros(size, 2)}
    return Move(matrices, still, mode).apply({"image": image, "mask": full(image)})


def blob(side, x, y, sigma=2.0):
    """A Gaussian at (x, y) pixels from the centre."""
    axis = torch.arange(side) - (side - 1) / 2
    return torch.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * sigma**2))[None, None]


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3])
def test_quarter_turns_are_exact(quarters, side):
    image = noise(3, 2, side, side)
    expected = torch.rot90(image, quarters, (-2, -1))
    exact = turned(image, 90 * quarters, mode="nearest")
    assert torch.equal(exact["image"], expected)
    assert exact["mask"].all()
    close = turned(image, 90 * quarters)
    torch.testing.assert_close(close["image"], expected, atol=1e-4, rtol=0)
    assert close["mask"].all()


def test_flips_come_before_turns():
    image = noise(2, 1, 8, 8)
    assert torch.equal(turned(image, 90, True, "nearest")["image"], torch.rot90(image.flip(-1), 1, (-2, -1)))


@pytest.mark.parametrize("shape", [(33, 33), (33, 49)])
def test_a_turn_stays_a_turn_on_oblong_images(shape):
    height, width = shape
    y, x = torch.meshgrid(torch.arange(height) - height // 2, torch.arange(width) - width // 2, indexing="ij")
    image = torch.exp(-((x - 8.0) ** 2 + y**2) / 8)[None, None]
    found = turned(image, 30)["image"]  # anticlockwise on the screen, where y runs down
    row, column = divmod(int(found.argmax()), width)
    assert (column - width // 2, row - height // 2) == (7, -4)  # 8 cos 30, -8 sin 30


def test_uncovered_corners_are_unknown_and_zero():
    image = noise(1, 1, 16, 16) + 10
    moved = turned(image, 45)
    assert not moved["mask"][0, 0, 0, 0]
    assert moved["mask"][0, 0, 8, 8]
    assert (moved["image"][~moved["mask"]] == 0).all()
    assert (moved["image"][moved["mask"]] > 1).all()


def test_unknown_pixels_spread_to_what_they_touch():
    image, mask = torch.ones(1, 1, 9, 9), torch.ones(1, 1, 9, 9, dtype=torch.bool)
    mask[0, 0, 4, 4], image[0, 0, 4, 4] = False, 0
    half = Move(torch.eye(2)[None], {"image": torch.tensor([[0.5, 0.0]])}).apply({"image": image, "mask": mask})
    unknown = (~half["mask"][0, 0]).nonzero().tolist()
    assert [4, 4] in unknown
    assert [4, 5] in unknown
    assert len(unknown) == 2 + 9  # and the uncovered column
    assert (half["image"][half["mask"]] == 1).all()


def test_the_target_shifts_by_the_same_angle_on_the_sky():
    shift = Shift(ShiftConfig(max_shift_px=4), DATA)
    batch = {"image": blob(16, 0, 0).expand(64, 2, -1, -1), "target": blob(8, 0, 0, 1.0).expand(64, -1, -1, -1)}
    moved = shift({**batch, "mask": full(batch["image"]), "target_mask": full(batch["target"])}, generator())

    def centre(image):  # (B, 2), pixels
        axis = torch.arange(image.shape[-1], dtype=torch.float32)
        total = image[:, 0].sum((1, 2))
        sums = torch.stack([(image[:, 0].sum(1) * axis).sum(1), (image[:, 0].sum(2) * axis).sum(1)], 1)
        return sums / total[:, None] - axis.mean()

    near = (centre(moved["image"]).abs() < 2).all(1)  # whole within the field
    torch.testing.assert_close(
        2.0 * centre(moved["image"])[near], 4.0 * centre(moved["target"])[near], atol=0.4, rtol=0
    )
    assert centre(moved["image"])[near].std() > 0.5


def test_a_condition_that_is_a_vector_stays():
    batch = {"image": noise(2, 2, 16, 16), "condition": noise(2, 5)}
    for augmenter in (Shift(ShiftConfig(), DATA), RotateFlip(RotateFlipConfig(), DATA), Scale(ScaleConfig(), DATA)):
        assert torch.equal(augmenter(batch, generator())["condition"], batch["condition"])


def test_image_target_and_condition_turn_together():
    quarter = RotateFlip(RotateFlipConfig(step_deg=90), DATA)
    image = noise(32, 1, 8, 8)
    moved = quarter({"image": image, "target": image.clone(), "condition": image.clone()}, generator())
    assert torch.equal(moved["image"], moved["target"])
    assert torch.equal(moved["image"], moved["condition"])
    assert not torch.equal(moved["image"], image)


@pytest.mark.parametrize(
    ("largest", "step", "expected"),
    [(180, 90, {-180, -90, 0, 90}), (90, 90, {-90, 0, 90}), (180, 120, {-120, 0, 120}), (0, 0, {0}), (30, 90, {0})],
)
def test_steps_are_all_drawn_alike(largest, step, expected):
    augmenter = RotateFlip(RotateFlipConfig(max_angle_deg=largest, step_deg=step), DATA)
    angles = augmenter._angles(torch.linspace(0, 0.9999, 1200)).round()
    values, counts = angles.unique(return_counts=True)
    assert set(values.int().tolist()) == expected
    assert counts.max() - counts.min() <= 2


def test_any_angle_covers_the_range():
    angles = RotateFlip(RotateFlipConfig(max_angle_deg=20, step_deg=0), DATA)._angles(
        torch.rand(1000, generator=generator())
    )
    assert -20 <= angles.min() < -19
    assert 19 < angles.max() <= 20


def test_scale_zooms_image_and_target_about_their_centres_and_keeps_brightness():
    batch = {"image": blob(65, 0, 0, 6.0).expand(128, 1, -1, -1), "target": blob(33, 0, 0, 3.0).expand(128, 1, -1, -1)}
    batch |= {"mask": full(batch["image"]), "target_mask": full(batch["target"])}
    moved = Scale(ScaleConfig(max_factor=1.25), DATA)(batch, generator())
    # the flux of a Gaussian grows with the square of its size where its peak stays
    factors = (moved["image"].sum((1, 2, 3)) / batch["image"].sum((1, 2, 3))).sqrt()
    of_target = (moved["target"].sum((1, 2, 3)) / batch["target"].sum((1, 2, 3))).sqrt()
    torch.testing.assert_close(of_target, factors, atol=0.02, rtol=0)
    torch.testing.assert_close(moved["image"][:, 0, 32, 32], torch.ones(128), atol=0.01, rtol=0)
    torch.testing.assert_close(moved["image"], moved["image"].flip(-1), atol=1e-4, rtol=0)
    assert 0.8 <= factors.min() < 0.83
    assert 1.2 < factors.max() < 1.26
    assert abs(factors.log().mean()) < 0.04
    zoomed_out = factors < 0.95
    assert not moved["mask"][zoomed_out, 0, 0].any()  # the uncovered edge
    assert moved["mask"][~zoomed_out & (factors > 1.01)].all()
