"""The contract of models."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from rvtool import plugins
from rvtool.component import Component
from rvtool.kinds import Autoencodes, Batch, DataInfo, Predicts, Samples
from rvtool.learning import Model, Randomness, compose
from rvtool.testing.examples import example_batch, example_data, one_thread

EACH = 20  # steps between looks at the monitored metric
PARTS = ("gradients", "bf16", "learns", "sample", "round-trip")


def check_model(
    component: Component,
    settings: Mapping[str, Any] | None = None,
    *,
    data: DataInfo | None = None,
    get_loss: Callable[[str], Component] | None = None,
    steps: int = 200,
    exempt: Mapping[str, str] | None = None,
) -> None:
    """Check that a model trains: finite values, a gradient for every parameter, a tiny task learnt, weights restored.

    Parameters
    ----------
    component, settings
        What is checked, and the settings to build it from.
    data
        What it is told of the data; images of 32 x 32 pixels, three classes and a target where left out.
    get_loss
        Finds its losses by name; the installed ones where left out.
    steps
        Training steps within which the tiny task must be learnt; the check ends as soon as it is.
    exempt
        Parts of this check that do not apply, each with the reason; the model's own ``exempt`` counts too.
        Parts: ``gradients``, ``bf16``, ``learns``, ``sample``, ``round-trip``.

    Raises
    ------
    AssertionError
        It does not keep its contract.
    """
    data = data or example_data()
    name = f"Model '{component.name}'"
    kind = component.load()
    assert isinstance(kind, type) and issubclass(kind, Model), f"{name} must be derived from rvtool.learning.Model."
    exempt = {**kind.exempt, **(exempt or {})}
    for part, reason in exempt.items():
        assert part in PARTS and reason, f"{name}: exempt['{part}'] must be one of {PARTS}, with its reason."
    _check_declarations(name, kind)
    build = partial(_build, component, settings, data, get_loss or partial(plugins.component, "loss"))
    batch = example_batch(data)
    with one_thread():
        _check_first_steps(name, build(seed=0), batch, "gradients" not in exempt)
        if "bf16" not in exempt:
            _check_mixed_precision(name, build(seed=0), batch)
        trained = build(seed=0)
        _check_learning(name, trained, batch, steps, "learns" not in exempt)
        if isinstance(trained, Samples) and "sample" not in exempt:
            _check_samples(name, trained, batch)
        if "round-trip" not in exempt:
            _check_round_trip(name, trained, build(seed=1), batch)


def _build(
    component: Component,
    settings: Mapping[str, Any] | None,
    data: DataInfo,
    get_loss: Callable[[str], Component],
    *,
    seed: int,
) -> Model:
    kind = component.load()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(component.configure(settings), data, compose([], kind.roles, {}, data, get_loss))


def _check_declarations(name: str, kind: type[Model]) -> None:
    assert kind.task, f"{name} needs the class attribute 'task', such as 'classification'."
    _, mode = kind.monitor
    assert mode in ("min", "max"), f"{name}: monitor is {kind.monitor}; write (logged name, 'min' or 'max')."
    assert set(kind.fixed_roles) <= set(kind.roles), f"{name}: fixed_roles names roles that it does not have."
    from rvtool.data.stretch import Stretch

    unknown = set(kind.stretch) - set(Stretch.model_fields)
    assert not unknown, f"{name}: stretch has {sorted(unknown)}, which are no fields of rvtool.data.stretch.Stretch."
    Stretch(**kind.stretch)


class _Watch(Callback):
    """Notes which parameters had a gradient at a step of their optimiser."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.seen |= {id(p) for p in parameters if p.grad is not None and p.grad.any()}


def _fit(model: Model, batch: Batch, steps: int, *callbacks: Callback, precision: Any = "32-true") -> Trainer:
    trainer = _trainer(Randomness(0), *callbacks, every=min(steps, EACH), precision=precision)
    with _quiet():
        trainer.fit(model, _loader(batch, steps), _loader(batch, 1))
    return trainer


def _loader(batch: Batch, steps: int) -> DataLoader[Batch]:
    batches: Any = [batch] * steps
    return DataLoader(batches, batch_size=None)


def _trainer(*callbacks: Callback, every: int | None = None, precision: Any = "32-true") -> Trainer:
    with _quiet():
        return lightning.Trainer(
            accelerator="cpu",
            precision=precision,
            max_epochs=1,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            val_check_interval=every,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice from the terminal."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_first_steps(name: str, model: Model, batch: Batch, gradients: bool) -> None:
    watch = _Watch()
    trainer = _fit(model, batch, 5, watch)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    for key, value in logged.items():
        assert torch.isfinite(torch.tensor(value)), f"{name} logs {key} = {value} within five steps."
    assert any(key.startswith("train/") for key in logged), f"{name} logs no 'train/...' value in training_step."
    assert model.monitor[0] in logged, (
        f"{name} monitors '{model.monitor[0]}' and never logs it (it logs: {', '.join(sorted(logged)) or 'nothing'})."
    )
    for key, parameter in model.named_parameters():
        assert parameter.isfinite().all(), f"{name}: parameter '{key}' is not finite after five steps."
    if gradients:
        idle = [key for key, p in model.named_parameters() if p.requires_grad and id(p) not in watch.seen]
        assert not idle, (
            f"{name}: no gradient reaches {', '.join(idle[:5])}{' ...' if len(idle) > 5 else ''} in five steps; use "
            "it, give it to an optimiser, or set requires_grad = False."
        )


def _check_mixed_precision(name: str, model: Model, batch: Batch) -> None:
    try:
        _fit(model, batch, 2, precision="bf16-mixed")
    except RuntimeError as error:
        raise AssertionError(
            f"{name} does not train with --precision bf16 ({error}); give sums, norms and indices float32 tensors, or "
            "compute them within torch.autocast(device.type, enabled=False)."
        ) from error
    wide = [key for key, p in model.named_parameters() if not p.isfinite().all()]
    assert not wide, f"{name}: parameter '{wide[0]}' is not finite after two steps of --precision bf16."


class _Learnt(Callback):
    """Follows the monitored metric and stops once the task is learnt."""

    def __init__(self, model: Model) -> None:
        self.metric, self.mode = model.monitor
        self.classifies = model.task == "classification"
        self.values: list[float] = []

    def learnt(self) -> bool:
        """Tell whether every image is right, or the metric is a tenth better than before the training."""
        first, last = self.values[0], self.values[-1]
        if self.classifies and self.mode == "max":
            return last >= 0.99
        gain = last - first if self.mode == "max" else first - last
        return gain > 0.1 * abs(first)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics[self.metric]))
        trainer.should_stop = trainer.state.fn == "fit" and self.learnt()


def _check_learning(name: str, model: Model, batch: Batch, steps: int, required: bool) -> None:
    watch = _Learnt(model)
    with _quiet():
        _trainer(Randomness(0), watch).validate(model, _loader(batch, 1), verbose=False)
    _fit(model, batch, steps if required else EACH, watch)
    if required:
        assert watch.learnt(), (
            f"{name}: '{watch.metric}' went from {watch.values[0]:.4g} to {watch.values[-1]:.4g} in {steps} steps on "
            f"{len(batch['image'])} images; a model that can learn fits these. Without an error in the model, declare "
            "exempt = {'learns': 'the reason'}."
        )


@torch.no_grad()
def _check_samples(name: str, model: Model, batch: Batch) -> None:
    """Ask for images together, alone, and of another seed."""
    sampler: Any = model.eval()
    device = torch.device("cpu")
    few = {key: value[:2] for key, value in batch.items()}
    both = sampler.sample(torch.tensor([3, 7]), 0, device, few)
    alone = sampler.sample(torch.tensor([7]), 0, device, {key: value[1:2] for key, value in batch.items()})
    close = torch.allclose(both[1:], alone, rtol=1e-3, atol=1e-4)
    assert close, f"{name}: the sample of an index depends on the batch it is in; draw from rvtool.data.chance."
    other = sampler.sample(torch.tensor([3, 7]), 1, device, few)
    assert not torch.equal(both, other), f"{name}: two seeds give the same samples."
    same = sampler.sample(torch.tensor([3, 7]), 0, device, {key: value[[0, 0]] for key, value in few.items()})
    assert not torch.equal(same[0], same[1]), f"{name}: two indices of one batch give the same sample."


def _check_round_trip(name: str, model: Model, fresh: Model, batch: Batch) -> None:
    from safetensors.torch import load, save

    state = model.state_dict()
    try:
        stored = save(state)
    except (RuntimeError, ValueError) as error:
        raise AssertionError(f"{name}: its weights cannot be stored as safetensors: {error}") from error
    fresh.load_state_dict(load(stored))
    expected, answers = _answers(model.eval(), batch), _answers(fresh.eval(), batch)
    for what, value in expected.items():
        assert value.isfinite().all(), f"{name}: {what} gives values that are not finite."
        assert torch.equal(value, answers[what]), (
            f"{name}: {what} answers otherwise after its weights were stored and read back; everything learnt or "
            "measured must be a parameter or a buffer."
        )
    assert expected, f"{name} can do nothing once trained; offer predict, features, sample, or encode and decode."


@torch.no_grad()
def _answers(model: Model, batch: Batch) -> dict[str, Tensor]:
    answers: dict[str, Tensor] = {}
    if isinstance(model, Predicts):
        answers["predict"] = model.predict(batch)
    if isinstance(model, Samples):
        asked = {key: value[:2] for key, value in batch.items()}
        answers["sample"] = model.sample(torch.arange(2), 0, torch.device("cpu"), asked)
    if isinstance(model, Autoencodes):
        answers["decode(encode)"] = model.decode(model.encode(batch["image"]))
    if callable(getattr(model, "features", None)):
        answers["features"] = model.features(batch)  # type: ignore[operator]
    return answers
