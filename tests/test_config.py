"""Settings read what recipes and the command line can write."""

from pathlib import Path

from rvtool.config import Config


class Some(Config):
    """Settings that may be nothing, and one that may not."""

    out: Path | None = None
    fold: int | None = 3
    word: str = "x"


def test_an_empty_word_is_nothing_where_there_may_be_nothing():
    assert Some(out="", fold="", word="") == Some(out=None, fold=None, word="")
    assert Some(out="a").out == Path("a")
    assert Some().fold == 3
