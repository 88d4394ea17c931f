"""Settings of a model, looked for: many trainings, each with settings that those before make promising.

The search's folder becomes the run of the best trial, with ``search.csv`` and ``search.png`` beside; each trial is a
run in ``trials/``. What was tried stands in ``search.sqlite``, so the same command goes on after a kill, first with the
trial that was cut off; with a larger number it adds trials. Trials are judged on validation images only.

References
----------
Bergstra et al. 2011, NeurIPS 24 (TPE). Akiba et al. 2019, arXiv:1907.10902 (Optuna).
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from rvtool import plugins
from rvtool.component import Component
from rvtool.data.dataset import open_dataset
from rvtool.errors import ConfigError, DataError, PluginError
from rvtool.report.sweep import Result, figures_of, results_figure, results_table, write_results
from rvtool.runs.run import is_run, load_run, new_run_path
from rvtool.runs.stages import locked
from rvtool.runs.sweep import value_text
from rvtool.verbs.train import Settings, record
from rvtool.verbs.train.loop import train

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

FILE = "search.sqlite"
STARTUP = 5  # trials drawn by chance before any is drawn from what was learnt, or stopped early
SPARED = 0.25  # part of its epochs before which no trial is stopped
NO_PART = {"search", "out", "gpus"}  # settings that may change when a search goes on
NOT_BESIDE = ("find_learning_rate", "show_augmentation")


def search(settings: Settings, console: Console) -> dict[str, Any]:
    """Train `settings.search` times in all, and make the best of these runs that of the search's folder.

    The first trial has the model's own settings, so that the best is never worse. A trial is stopped where its best
    validation score is worse than the median of the others' at the same epoch.

    Raises
    ------
    ConfigError
        Optuna is missing, nothing can be searched, or the folder holds a search with other settings or data.
    DataError
        The folder holds something else, another process searches there, or no trial came to its end.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"--search needs the library optuna ({error}): pip install 'rvtool[search]'.") from error
    for name in NOT_BESIDE:
        if getattr(settings, name):
            raise ConfigError(f"--search trains, and --{name.replace('_', '-')} does not; give one of them.")
    if settings.gpus is None and torch.cuda.device_count() > 1:
        settings = settings.model_copy(update={"gpus": 1})
    if settings.gpus is not None and settings.gpus > 1:
        raise ConfigError("--search trains on one device; leave --gpus out.")
    component = plugins.component("model", settings.model)
    ranges = ranges_of(component, settings.config)
    out = settings.out or new_run_path(settings.model)
    if out.exists() and not (out.is_dir() and ((out / FILE).exists() or not any(out.iterdir()))):
        raise DataError(f"{out} exists already and holds no search; choose another --out.")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with locked(out / FILE):
        score, mode = component.load().monitor
        study = optuna.create_study(
            storage=f"sqlite:///{out / FILE}",
            study_name="search",
            direction="minimize" if mode == "min" else "maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
            load_if_exists=True,
        )
        _check_same(study, settings, out)
        if not study.trials:
            study.enqueue_trial({name: default_of(component, name) for name in ranges})
        return _Search(settings, out, study, score, console).run(ranges)


def ranges_of(component: Component, given: dict[str, Any]) -> dict[str, BaseDistribution]:
    """Return the ranges that a model's config declares, by field; not of the fields that are given.

    Raises
    ------
    ConfigError
        There are none.
    PluginError
        A declaration is wrong, or does not hold the field's default.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    ranges: dict[str, BaseDistribution] = {}
    for name, field in component.config.model_fields.items():
        extra = field.json_schema_extra
        declared: Any = extra.get("search") if isinstance(extra, dict) else None
        if declared is None or name in given:
            continue
        kind: Any = IntDistribution if field.annotation is int else FloatDistribution
        default = default_of(component, name)
        try:
            if "choices" in declared:
                ranges[name] = CategoricalDistribution(**declared)
                holds = default in declared["choices"]
            else:
                ranges[name] = kind(**declared)
                holds = declared["low"] <= default <= declared["high"]
        except (TypeError, ValueError) as error:
            raise PluginError(f"The range of '{name}' of '{component.name}' cannot be searched: {error}") from error
        if not holds:
            raise PluginError(f"The range of '{name}' of '{component.name}' does not hold its default, {default}.")
    if not ranges:
        raise ConfigError(f"'{component.name}' declares no settings to search, or all are given; leave out --search.")
    return ranges


def default_of(component: Component, name: str) -> Any:
    """Return a field's default as it is typed: a tuple as one word."""
    default = component.config.model_fields[name].default
    return ",".join(map(str, default)) if isinstance(default, tuple) else default


def _check_same(study: optuna.Study, settings: Settings, out: Path) -> None:
    """Keep with what a search is begun, and refuse to go on with anything else."""
    assert settings.data is not None
    said = settings.model_dump(mode="json", exclude=NO_PART) | {"content of data": open_dataset(settings.data).digest}
    said = json.loads(json.dumps(said, default=str))
    known = study.user_attrs.get("settings", said)
    if changed := [name for name, value in said.items() if value != known.get(name)]:
        raise ConfigError(f"The search in {out} was begun with another {' and '.join(changed)}; choose another --out.")
    study.set_user_attr("settings", said)


class _Watch(Callback):
    """Tells a trial its score after each epoch, and stops it where there is no hope."""

    def __init__(self, trial: Trial, score: str) -> None:
        self.trial, self.score = trial, score

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and ask whether to stop."""
        epoch, epochs = trainer.current_epoch, trainer.max_epochs or 0
        value = float(trainer.callback_metrics[self.score])
        if math.isnan(value):
            return
        told = self.trial.study.trials[self.trial.number].intermediate_values
        if epoch not in told:  # as in epochs that are done again after a kill
            self.trial.report(value, epoch)
        if SPARED * epochs <= epoch + 1 < epochs and self.trial.should_prune():
            self.trial.set_user_attr("cut", True)
            trainer.should_stop = True


@dataclass(frozen=True)
class _Search:
    """A search that is under way."""

    settings: Settings
    out: Path
    study: optuna.Study
    score: str
    console: Console

    def run(self, ranges: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Finish what was begun, try until there are as many trials as were asked for, and conclude."""
        import optuna
        from optuna.trial import TrialState

        for begun in self.study.get_trials(states=(TrialState.RUNNING,)):
            if set(begun.params) == set(ranges):
                self._try(optuna.Trial(self.study, begun._trial_id))
            else:  # killed before its settings were drawn
                self.study.tell(begun.number, state=TrialState.FAIL)
        while (number := len(self._ended())) < self.settings.search:
            # a fresh sampler, so that what is drawn depends on the trials before and not on when the process began
            self.study.sampler = optuna.samplers.TPESampler(seed=self.settings.seed + number, n_startup_trials=STARTUP)
            self._try(self.study.ask(ranges))
        return self._conclude()

    def _ended(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    def _folder(self, number: int) -> Path:
        return self.out / "trials" / f"{number:03d}"

    def _try(self, trial: Trial) -> None:
        """Train one trial, or go on with it, and put down what it reached."""
        from optuna.trial import TrialState

        folder, drawn = self._folder(trial.number), settings_of(trial)
        self.console.rule(f"trial {len(self._ended()) + 1} of {self.settings.search}", align="left")
        told = ", ".join(f"{name} {value_text(value)}" for name, value in drawn.items())
        self.console.print(told, markup=False, highlight=False, soft_wrap=True)
        if is_run(folder):
            settings = Settings.model_validate({"resume": folder})
        else:
            shutil.rmtree(folder, ignore_errors=True)  # killed before its first step
            config = {**self.settings.config, **drawn}
            settings = self.settings.model_copy(update={"config": config, "out": folder, "search": 0})
        try:
            reached = train(settings, self.console, [_Watch(trial, self.score)])
        except DataError as error:
            status = load_run(folder).record["status"] if is_run(folder) else ""
            if status == "interrupted":
                raise DataError(f"Interrupted; the same command goes on with the search in {self.out}.") from None
            if status != "stopped":
                raise
            self.console.print(str(error), style="yellow", markup=False, highlight=False, soft_wrap=True)
            trial.set_user_attr("cut", True)  # its loss became NaN
            reached = {}
        trial.set_user_attr("figures", figures_of(reached))
        if trial.user_attrs.get("cut") or not reached["best"]:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, reached["best"]["value"])

    def _conclude(self) -> dict[str, Any]:
        """Write the table and the figure, and make the folder the run of the best trial."""
        from optuna.trial import TrialState

        ended = self._ended()
        complete = [trial for trial in ended if trial.state == TrialState.COMPLETE]
        if not complete:
            raise DataError(f"No trial in {self.out} came to its end, so none is best; give a smaller --learning-rate.")
        best = self.study.best_trial.number
        results = {
            trial.number: Result(
                self._folder(trial.number).name,
                settings_of(trial),
                trial.user_attrs["figures"],
                trial.user_attrs.get("cut", False),
            )
            for trial in ended
        }
        table, figure = self.out / "search.csv", self.out / "search.png"
        write_results(table, list(results.values()))
        results_figure(list(results.values()), [self.score], figure, results[best])
        run = load_run(self._folder(best))
        left = shutil.ignore_patterns("checkpoints", "tensorboard", "run.json")
        shutil.copytree(run.path, self.out, ignore=left, dirs_exist_ok=True)
        notes = {**run.record, "search": {"trials": len(ended), "best": str(run.path)}}
        record.save_record(self.out, notes)
        figures = list(results[best].figures)
        self.console.print(results_table(list(results.values()), figures, "Search", results[best]))
        self.console.print(f"the best of {len(ended)} trials is {run.path}", markup=False, highlight=False)
        for path in (table, figure, self.out):
            self.console.print(str(path), markup=False, highlight=False, soft_wrap=True)
        return record.outcome(self.out, notes) | {"trials": len(ended), "table": str(table), "figure": str(figure)}


def settings_of(trial: Trial | FrozenTrial) -> dict[str, Any]:
    """Return a trial's settings; numbers to three digits, as a person would give them."""
    return {name: float(f"{v:.3g}") if isinstance(v, float) else v for name, v in trial.params.items()}
