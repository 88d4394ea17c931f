"""What every model shares: `Model`, `Classifier`, losses by role, schedules, averages, pretrained weights, randomness.

Everything is loaded on first use, so that a plugin's ``__init__`` may import `ModelConfig` without loading torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvtool.learning.autoencoder import Autoencoder as Autoencoder
    from rvtool.learning.borrowed import borrow_autoencoder as borrow_autoencoder
    from rvtool.learning.borrowed import borrow_network as borrow_network
    from rvtool.learning.classifier import Classifier as Classifier
    from rvtool.learning.config import AdversarialConfig as AdversarialConfig
    from rvtool.learning.config import ModelConfig as ModelConfig
    from rvtool.learning.config import VariationalConfig as VariationalConfig
    from rvtool.learning.ema import EMA as EMA
    from rvtool.learning.generator import Generator as Generator
    from rvtool.learning.losses import Losses as Losses
    from rvtool.learning.losses import compose as compose
    from rvtool.learning.model import Model as Model
    from rvtool.learning.pretrained import PretrainedConfig as PretrainedConfig
    from rvtool.learning.pretrained import load_pretrained as load_pretrained
    from rvtool.learning.randomness import Randomness as Randomness
    from rvtool.learning.regressor import Regressor as Regressor
    from rvtool.learning.regressor import for_task as for_task
    from rvtool.learning.schedule import Schedule as Schedule
    from rvtool.learning.thaw import Thaw as Thaw
    from rvtool.learning.translator import Translator as Translator
    from rvtool.learning.variational import Variational as Variational

__all__ = [
    "EMA",
    "AdversarialConfig",
    "Autoencoder",
    "Classifier",
    "Generator",
    "Losses",
    "Model",
    "ModelConfig",
    "PretrainedConfig",
    "Randomness",
    "Regressor",
    "Schedule",
    "Thaw",
    "Translator",
    "Variational",
    "VariationalConfig",
    "borrow_autoencoder",
    "borrow_network",
    "compose",
    "for_task",
    "load_pretrained",
]

_HOMES = {
    "AdversarialConfig": "rvtool.learning.config",
    "Autoencoder": "rvtool.learning.autoencoder",
    "Classifier": "rvtool.learning.classifier",
    "EMA": "rvtool.learning.ema",
    "Generator": "rvtool.learning.generator",
    "Losses": "rvtool.learning.losses",
    "Model": "rvtool.learning.model",
    "ModelConfig": "rvtool.learning.config",
    "PretrainedConfig": "rvtool.learning.pretrained",
    "Randomness": "rvtool.learning.randomness",
    "Regressor": "rvtool.learning.regressor",
    "Schedule": "rvtool.learning.schedule",
    "Thaw": "rvtool.learning.thaw",
    "Translator": "rvtool.learning.translator",
    "Variational": "rvtool.learning.variational",
    "VariationalConfig": "rvtool.learning.config",
    "borrow_autoencoder": "rvtool.learning.borrowed",
    "borrow_network": "rvtool.learning.borrowed",
    "compose": "rvtool.learning.losses",
    "for_task": "rvtool.learning.regressor",
    "load_pretrained": "rvtool.learning.pretrained",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rvtool.learning' has no attribute '{name}'")
