from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvtool.data.dataset import open_dataset
from rvtool.data.splits import parse_fractions, separation_arcmin, sky_groups, split_by_fold, split_by_group
from rvtool.errors import ConfigError


def test_fractions_are_normalised():
    assert parse_fractions("70/15/15") == pytest.approx((0.7, 0.15, 0.15))
    assert parse_fractions("1/0/1") == pytest.approx((0.5, 0, 0.5))


@pytest.mark.parametrize("text", ["70/30", "a/b/c", "0/0/0", "70/-15/45", "", "nan/1/1"])
def test_wrong_fractions_are_refused(text):
    with pytest.raises(ConfigError, match="70/15/15"):
        parse_fractions(text)


def test_sky_groups_link_friends_of_friends():
    ra = np.array([10.0, 10.0 + 1 / 60, 10.0 + 2 / 60, 50.0])
    assert sky_groups(ra, np.zeros(4), 1.1).tolist() == [0, 0, 0, 1]
    assert len(set(sky_groups(ra, np.zeros(4), 0.9))) == 4


def test_sky_groups_know_the_seam_and_the_pole():
    assert len(set(sky_groups(np.array([359.999, 0.001]), np.zeros(2), 1.0))) == 1
    assert len(set(sky_groups(np.array([0.0, 180.0]), np.array([89.999, 89.999]), 1.0))) == 1


@given(
    groups=st.lists(st.integers(0, 30), min_size=1, max_size=200),
    seed=st.integers(0, 5),
)
def test_no_group_is_ever_split(groups, seed):
    groups = np.array(groups)
    labels = np.array(["a", "b"])[groups % 2]
    split = split_by_group(groups, labels, (0.7, 0.15, 0.15), seed)
    for group in set(groups):
        assert len(set(split[groups == group])) == 1
    assert np.array_equal(split, split_by_group(groups, labels, (0.7, 0.15, 0.15), seed))


def test_classes_keep_their_proportions():
    labels = np.repeat(["a", "b"], [900, 100])
    split = split_by_group(np.arange(1000), labels, (0.7, 0.15, 0.15), 0)
    for label, count in (("a", 900), ("b", 100)):
        assert np.count_nonzero((split == "train") & (labels == label)) == pytest.approx(0.7 * count, abs=1)
        assert np.count_nonzero((split == "test") & (labels == label)) == pytest.approx(0.15 * count, abs=1)


def test_a_fold_is_held_out_and_its_neighbours_belong_to_no_part():
    folds = np.array([0, 0, 1, 1, 2, 2] * 20)
    groups = np.arange(120)
    groups[2] = groups[0]  # an image of fold 1 shares sky with one of fold 0
    split = split_by_fold(folds, 0, groups, None, seed=0)
    assert set(split[folds == 0]) == {"test"}
    assert split[2] == ""
    assert not set(groups[split == "test"]) & set(groups[(split == "train") | (split == "val")])
    assert np.count_nonzero(split == "val") == pytest.approx(0.15 * 79, abs=1)


def test_images_without_a_fold_train():
    folds = np.array(["0", None, "1", None] * 10, dtype=object)
    split = split_by_fold(folds, "1", np.arange(40), None, seed=0)
    assert set(split[folds == "1"]) == {"test"}
    assert "" not in split
    with pytest.raises(ConfigError, match=r"its folds are 0, 1\."):
        split_by_fold(folds, "2", np.arange(40), None, 0)


def test_an_unknown_fold_is_told():
    with pytest.raises(ConfigError, match=r"no fold 7; its folds are 0, 1"):
        split_by_fold(np.array([0, 1]), 7, np.arange(2), None, 0)


@pytest.mark.shared
def test_no_group_of_the_four_class_pool_is_in_two_parts(shared):
    dataset = open_dataset(shared / "first-4class")
    groups, labels = dataset.column("group"), dataset.words("label")

    def leaks(split):
        parts = [set(groups[split == part].tolist()) for part in ("train", "val", "test")]
        return [first & second for first, second in combinations(parts, 2) if first & second]

    for fold in range(5):
        split = split_by_fold(dataset.words("fold"), str(fold), groups, labels, 0)
        assert not leaks(split)
    # by image instead of by group, as the pool's own folds are, it leaks
    assert leaks(np.where(dataset.words("fold") == "0", "test", "train"))


def test_separations():
    assert separation_arcmin(0, 0, 1, 0) == pytest.approx(60)
    assert separation_arcmin(359.9, 60, 0.1, 60) == pytest.approx(6, rel=1e-5)  # over the wrap, cos 60 = 1/2
    assert separation_arcmin(10, 90, 200, 89) == pytest.approx(60)
    assert separation_arcmin(10, 45, 10, 45 + 0.01 * (1 / 3600)) == pytest.approx(0.01 / 60, rel=1e-5)
    assert separation_arcmin(0, 0, 180, 0) == pytest.approx(180 * 60)
