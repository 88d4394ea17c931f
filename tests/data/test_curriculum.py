from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from rvtool.data.curriculum import Curriculum, read_curriculum
from rvtool.data.dataset import Dataset
from rvtool.errors import ConfigError


def test_the_easy_come_first_and_in_the_end_all():
    easiness = np.array([5.0, np.nan, 3.0, 4.0, 1.0, 2.0, 0.0, -1.0, -2.0, -3.0, -4.0])
    rows = np.arange(1, 11)
    shown = [Curriculum(easiness, 4).rows(rows, epoch) for epoch in range(6)]
    assert [len(one) for one in shown] == [2, 4, 6, 8, 10, 10]
    assert shown[0].tolist() == [2, 3]
    assert 1 not in shown[3]  # what nothing is known of is hardest
    assert 1 in shown[4]
    for one, more in pairwise(shown):
        assert set(one) <= set(more)


def test_a_column_says_what_is_easy(tmp_path):
    dataset = Dataset(tmp_path, {}, pa.table({"snr": [3, None, 9], "size": [1.0, 2.0, 3.0], "kind": ["a", "b", "c"]}))
    np.testing.assert_array_equal(read_curriculum(dataset, "snr", 5).easiness, [3, np.nan, 9])
    np.testing.assert_array_equal(read_curriculum(dataset, "size:ascending", 5).easiness, [-1, -2, -3])
    with pytest.raises(ConfigError, match="holds words"):
        read_curriculum(dataset, "kind", 5)
    with pytest.raises(ConfigError, match="COLUMN:ascending"):
        read_curriculum(dataset, "size:down", 5)
    with pytest.raises(ConfigError, match="snr"):
        read_curriculum(dataset, "sn", 5)
