"""Pictures of a latent space: what gets a colour, and each image beside its neighbours."""

import numpy as np

from rvtool.report.latent import MOST_WORDS, Shown, beside, scatter


def test_frequent_words_get_a_marker_each_and_the_rest_are_grey(tmp_path):
    words = np.array([f"w{number:02d}" for number in range(MOST_WORDS + 2)] * 2 + ["w00", None], dtype=object)
    places = np.random.default_rng(0).normal(size=(len(words), 2))
    figure = scatter(places, words, "kind", ("x", "y"), tmp_path / "a.png")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "others 5"  # two words twice, and the one that is not known
    assert labels[1:3] == ["w00 3", "w01 2"]
    assert len(labels) == MOST_WORDS + 1
    assert (tmp_path / "a.png").stat().st_size > 0


def test_numbers_get_a_colour_bar_that_an_outlier_does_not_rule(tmp_path):
    values = np.r_[np.linspace(0, 1, 300), 1000.0, np.nan]
    figure = scatter(np.zeros((302, 2)), values, "z", ("x", "y"), tmp_path / "a.png")
    panel, bar = figure.axes
    assert bar.get_ylabel() == "z"
    assert panel.collections[1].get_clim()[1] < 2
    assert len(panel.collections[0].get_offsets()) == 1  # not known: grey


def test_an_image_stands_left_of_its_neighbours(tmp_path):
    image = np.eye(4)[None]
    one, two = Shown(image, "query"), Shown(image, "near 0.1", "upper")
    figure = beside([(one, [two, two]), (one, [two])], tmp_path / "a.png")
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == ["query", "near 0.1", "near 0.1", "query", "near 0.1", ""]
