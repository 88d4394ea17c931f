"""Sweeps: which members a recipe has, what they share, and what is refused."""

import math
from itertools import combinations
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from rvtool.errors import ConfigError
from rvtool.runs.recipe import parse_assignments
from rvtool.runs.sweep import combine, jobs_of, members_of, short_names

RECIPE = """
out = "o"
[sweep]
train.seed = [0, 1]
train.augment = [["none"], ["rotate-flip", "shift"]]
[[stage]]
verb = "simulate"
simulator = "radio-galaxy"
out = "{out}/data"
[[stage]]
verb = "train"
model = "alhassan-cnn"
data = "{out}/data"
out = "{out}/{member}/run"
[[stage]]
verb = "evaluate"
runs = ["default"]
out = "{out}/{member}/evaluation"
"""


def members(text=RECIPE, *assignments):
    return members_of(tomli.loads(text), parse_assignments(assignments))


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=3, unique=True)))
def test_the_lists_multiply(lists):
    found = combine({"train": lists})
    assert len(found) == math.prod(map(len, lists.values()))
    assert all(one != other for one, other in combinations(found, 2))
    for values in found:
        assert list(values) == [f"train.{name}" for name in lists]
        assert all(value in lists[path.removeprefix("train.")] for path, value in values.items())
    assert found == sorted(found, key=lambda values: [lists[p[6:]].index(v) for p, v in values.items()])


def test_a_table_sets_several_settings_together():
    found = combine({"train": [{"epochs": 2, "set": {"loss": {"focal": {"gamma": 1}}}}, {}], "seed": [3]})
    assert found == [{"train.epochs": 2, "train.set.loss.focal.gamma": 1, "seed": 3}, {"seed": 3}]


def test_members_have_their_values_and_their_folders():
    found = members()
    assert [member.name for member in found] == [
        "seed=0,augment=none",
        "seed=0,augment=rotate-flip+shift",
        "seed=1,augment=none",
        "seed=1,augment=rotate-flip+shift",
    ]
    train = found[2].stages[1].settings
    assert (train.seed, train.augment, train.out) == (1, ("none",), Path("o/seed=1,augment=none/run"))
    assert found[2].values == {"train.seed": 1, "train.augment": ["none"]}


def test_what_is_the_same_for_all_is_one_stage():
    jobs = jobs_of(members())
    assert [job.stage.verb for job in jobs] == ["simulate"] + ["train", "evaluate"] * 4
    assert [len(job.members) for job in jobs] == [4] + [1] * 8


def test_a_word_that_is_swept_shares_what_is_named_by_it():
    text = RECIPE.replace('"{out}/data"', '"{out}/data-{count}"').replace(
        "[sweep]", "count = 5\n[sweep]\ncount = [5, 9]"
    )
    jobs = jobs_of(members(text.replace('"radio-galaxy"', '"radio-galaxy"\ncount = "{count}"')))
    shared = [job for job in jobs if job.stage.verb == "simulate"]
    assert [(job.stage.settings.count, len(job.members)) for job in shared] == [(5, 4), (9, 4)]


def test_a_recipe_without_a_sweep_has_one_member_without_a_name():
    recipe = tomli.loads(RECIPE.replace("{member}", "x"))
    del recipe["sweep"]
    (only,) = members_of(recipe, {"train": {"seed": 4}})
    assert (only.name, only.values, only.stages[1].settings.seed) == ("", {}, 4)


def test_lists_are_replaced_from_the_command_line():
    assert len(members(RECIPE, "sweep.train.seed=[5, 6, 7]", "train.epochs=2")) == 6


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("train.seed", "train.sead", "No setting is named 'sead'"),
        ("train.seed", "trian.seed", "No table of a recipe is named 'trian'"),
        ("train.seed", "sead", "would do the same, sead=0, train.augment=none and sead=1"),
        ("[0, 1]", "[0, 0]", "would do the same"),
        ("[0, 1]", "0", "'train.seed' of a sweep is a list of values"),
        ("[0, 1]", "[]", "'train.seed' of a sweep is a list of values"),
        ("[0, 1]", "[0, -1]", "greater than or equal to 0"),
        ("train.seed = [0, 1]", 'model.mobilenet-v2.dropout = [0.1, 0.2]', "would do the same"),
        ("[sweep]\ntrain.seed = [0, 1]\ntrain.augment", "sweep", "'sweep' of a recipe is a table of lists"),
        ("{member}", "x", "No stage of the sweep names {member} in its 'out'"),
        ('verb = "evaluate"', 'verb = "evaluate"\nname = "train"', "Two stages of the sweep are called 'train'"),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_told(old, new, says):
    assert old in RECIPE
    with pytest.raises(ConfigError, match=says.replace("{", r"\{")):
        members(RECIPE.replace(old, new))


def test_a_setting_that_is_swept_is_not_set_too():
    with pytest.raises(ConfigError, match=r"'train.seed' is swept; give it a list: --set sweep.train.seed="):
        members(RECIPE, "train.seed=3")


def test_long_names_are_cut_and_stay_apart():
    variants = [["noise"] * 40, ["noise"] * 41]
    names = [member.name for member in members(RECIPE, f"sweep.train.augment={variants}")]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 120


def test_paths_are_shortened_as_far_as_they_stay_apart():
    paths = ["train.seed", "a.x.seed", "seed", "b.y.limit"]
    assert short_names(paths) == {
        "train.seed": "train.seed",
        "a.x.seed": "x.seed",
        "seed": "seed",
        "b.y.limit": "limit",
    }
