"""Tables of targets out of a catalogue: no more than was asked for, where it was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from rvtool.errors import ConfigError, DataError
from rvtool.kinds import Listed, Reply, Request, SourceInfo, Target
from rvtool.verbs.collect import Settings
from rvtool.verbs.collect.listing import list_targets
from rvtool.verbs.collect.services import Service
from rvtool.verbs.collect.targets import read_targets


class Catalogue:
    """Lists 20 pulsars and 20 quasars, however few are asked for."""

    info = SourceInfo("http://127.0.0.1")
    classes = ("pulsar", "quasar")

    def query(self, label: str, count: int | None) -> tuple[Request, ...]:
        return (Request("http://127.0.0.1/list"),)

    def entries(self, label: str, reply: Reply) -> Listed:
        both = (Target(f"{kind}-{n}", float(n), -5.0, {"label": kind}) for n in range(20) for kind in self.classes)
        return Listed(tuple(target for target in both if label in ("", target.columns["label"])))


@pytest.fixture
def list_with(monkeypatch):
    """Return ``list_with(**settings)``: what came back, and what was said."""
    service = Service("stars", Catalogue())
    monkeypatch.setattr("rvtool.verbs.collect.plan.catalogues_of", lambda *_: [service])
    asked = []

    def ask(questions: list[Any]) -> None:
        for question in questions:
            asked.append(question)
            question.tell(question.read(Reply(question.request, 200, {}, b"")))

    def run(**settings: Any) -> tuple[dict[str, Any], list[str]]:
        asked.clear()
        said: list[str] = []
        try:
            return list_targets(service, Settings(source="stars", **settings), ask, said.append), said
        except ConfigError:
            assert not asked
            raise

    return run


def test_everything_is_listed(tmp_path, list_with):
    result, said = list_with(out=tmp_path / "all.csv")
    assert (result["count"], result["targets"]) == (40, str(tmp_path / "all.csv"))
    assert said[0].startswith("40 targets; fetch images of them")
    targets = list(read_targets(tmp_path / "all.csv"))
    assert (len(targets), targets[0].id, targets[0].columns["label"]) == (40, "pulsar-0", "pulsar")


@pytest.mark.parametrize("classes", [(), ("quasar",), ("quasar", "pulsar")])
def test_no_more_of_a_class_than_asked_for(tmp_path, list_with, classes):
    list_with(out=tmp_path / "few.csv", class_=classes, count=3)
    labels = [target.columns["label"] for target in read_targets(tmp_path / "few.csv")]
    assert {label: labels.count(label) for label in labels} == dict.fromkeys(classes or Catalogue.classes, 3)


def test_a_dry_run_writes_nothing(tmp_path, list_with):
    result, said = list_with(out=tmp_path / "none", count=3, dry_run=True)
    assert result["count"] == 6
    assert said == [f"6 targets would be listed in {tmp_path / 'none.csv'}; nothing was written"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "file"), [("lst", "lst.csv"), ("lst.v1", "lst.v1.csv"), ("lst.csv", "lst.csv"), ("lst.CSV", "lst.CSV")]
)
def test_the_name_of_the_file_is_kept(tmp_path, list_with, out, file):
    list_with(out=tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == [file]
    with pytest.raises(DataError, match=f"{file} exists already"):
        list_with(out=tmp_path / out)


@pytest.mark.parametrize(
    ("way", "given"), [("targets", "some.csv"), ("position", ("10 20",)), ("pair", ("stars", "first"))]
)
def test_images_of_a_catalogue_are_refused(tmp_path, list_with, way, given):
    with pytest.raises(ConfigError, match=f"'stars' lists targets and gives no images; name another .* for --{way}"):
        list_with(out=tmp_path / "x", **{way: given})
