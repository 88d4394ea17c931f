"""Losses: what training minimises.

Of classifiers and regressors: `classification`, `regression`. Of images: `pixels`, `physical` (fluxes), `noise` (what
is left out), `perceptual` (what a trained network sees) and `adversarial` (what a critic sees).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rvtool import Component, Config, hookimpl
from rvtool.config import Names

Balance = Literal["none", "balanced"]
WEIGHTS = (
    "'imagenet' (the file of torchvision's cache; nothing is downloaded), a file of the same kind, or 'random': not "
    "learnt, for trials."
)


class CrossEntropyConfig(Config):
    """Settings of the cross entropy."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Part of each label that is spread over all classes.")
    class_weights: Balance = Field("none", description="'balanced' weighs classes by their inverse frequency.")
    logit_adjustment: float = Field(
        0.0, ge=0, le=10, description="1: logits that answer as if classes were equally frequent; 0: as they are."
    )


class FocalConfig(Config):
    """Settings of the focal loss."""

    gamma: float = Field(2.0, ge=0, description="How much well classified images are played down; 0: cross entropy.")
    alpha: Balance = Field("none", description="'balanced' weighs classes by their inverse frequency.")


class GaussianConfig(Config):
    """Settings of the Gaussian likelihood."""

    beta: float = Field(0.0, ge=0, le=1, description="How much images of large uncertainty teach (0: likelihood).")


class VonMisesConfig(Config):
    """Settings of the folded von Mises likelihood."""

    largest_deg: float = Field(180.0, gt=0, le=360, description="Largest angle that there is, deg; the least is 0.")


class MSEConfig(Config):
    """Settings of the mean square difference."""

    lit: float = Field(1.0, gt=0, description="How much pixels 4 sigma above the background count, the others 1.")


class CharbonnierConfig(Config):
    """Settings of the Charbonnier loss."""

    epsilon: float = Field(1e-3, gt=0, description="Error below which it is a square, in stretched units.")


class SSIMConfig(Config):
    """Settings of the structural similarity."""

    data_range: float = Field(1.0, gt=0, description="Brightness range of the images, in stretched units.")


class FluxConfig(Config):
    """Settings of the flux loss."""

    flux: float = Field(1.0, ge=0, description="Weight of the integrated flux's relative error.")
    peak: float = Field(1.0, ge=0, description="Weight of the peak flux's relative error.")
    consistency: float = Field(
        1.0, ge=0, description="Weight of the difference to the input, seen with its beam on its grid."
    )


class NoisePreservingConfig(Config):
    """Settings of the loss on what is left out."""

    correlation: float = Field(1.0, ge=0, description="Weight of the residual's correlation between pixels.")
    fwhm_px: float = Field(0.0, ge=0, description="Width of the beam that shapes the noise, px (0: the images' own).")


class AdversarialConfig(Config):
    """Settings of an adversarial loss."""

    gradient_penalty: float = Field(
        0.0, ge=0, description="gamma of the penalty R1 on the discriminator's slope at real images; 0: none."
    )


class BCEGANConfig(AdversarialConfig):
    """Settings of the original adversarial loss."""

    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="How far below 1 the discriminator's label of real images lies."
    )


class WGANConfig(Config):
    """Settings of the Wasserstein loss."""

    gradient_penalty: float = Field(
        10.0, ge=0, description="Weight of what the discriminator's slope between real and generated images lacks of 1."
    )


class VGGPerceptualConfig(Config):
    """Settings of the perceptual loss of VGG19."""

    layers: Names = Field(
        ("relu2_2", "relu5_4"), min_length=1, description="Layers that are compared: convB_N or reluB_N of block B."
    )
    distance: Literal["l1", "mse"] = Field("l1", description="Mean absolute or mean square difference of a layer.")
    weights: str = Field("imagenet", min_length=1, description=WEIGHTS)


class LPIPSConfig(Config):
    """Settings of LPIPS."""

    network: Literal["vgg", "alex"] = Field("vgg", description="VGG16, better to train with, or the quicker AlexNet.")
    weights: str = Field("imagenet", min_length=1, description=WEIGHTS)


class RadioPerceptualConfig(Config):
    """Settings of the perceptual loss of a run."""

    run: str = Field("default", min_length=1, description="The run whose model looks; 'default' comes with rvtool.")
    layers: Names = Field((), description="Layers of its backbone that are compared, by name; empty: all.")


@hookimpl
def rvtool_losses() -> list[Component]:
    """Offer the losses."""
    return [
        Component(
            "cross-entropy",
            "Cross entropy of classes, with label smoothing, class weights and logit adjustment",
            CrossEntropyConfig,
            "rvtool_plugins.losses.classification:CrossEntropy",
        ),
        Component(
            "focal",
            "Focal loss: cross entropy that looks at hard images (Lin et al. 2017)",
            FocalConfig,
            "rvtool_plugins.losses.classification:Focal",
        ),
        Component(
            "gaussian-nll",
            "Likelihood of a number: a normal distribution of its own width for each image",
            GaussianConfig,
            "rvtool_plugins.losses.regression:GaussianNLL",
        ),
        Component(
            "von-mises-nll",
            "Likelihood of an angle without a side, such as a bending angle: a folded von Mises distribution",
            VonMisesConfig,
            "rvtool_plugins.losses.regression:VonMisesNLL",
        ),
        Component(
            "l1",
            "Mean absolute difference",
            Config,
            "rvtool_plugins.losses.pixels:L1",
        ),
        Component(
            "mse",
            "Mean square difference; of sources more, where asked",
            MSEConfig,
            "rvtool_plugins.losses.pixels:MSE",
        ),
        Component(
            "rms",
            "Root mean square difference of each image, as a part of its target's peak: PSNR as a loss",
            Config,
            "rvtool_plugins.losses.pixels:RMS",
        ),
        Component(
            "charbonnier",
            "Absolute difference, smooth at 0 (Lai et al. 2017)",
            CharbonnierConfig,
            "rvtool_plugins.losses.pixels:Charbonnier",
        ),
        Component(
            "ssim",
            "1 minus the structural similarity (Wang et al. 2004)",
            SSIMConfig,
            "rvtool_plugins.losses.pixels:SSIM",
        ),
        Component(
            "tv",
            "Total variation of the prediction: differences of neighbouring pixels",
            Config,
            "rvtool_plugins.losses.pixels:TotalVariation",
        ),
        Component(
            "flux",
            "Integrated flux, peak flux and consistency with the input, in physical units",
            FluxConfig,
            "rvtool_plugins.losses.physical:Flux",
        ),
        Component(
            "noise-preserving",
            "What is left out of an image should have the strength and the grain of its noise",
            NoisePreservingConfig,
            "rvtool_plugins.losses.noise:NoisePreserving",
        ),
        Component(
            "vgg-perceptual",
            "Difference of what VGG19 sees (Johnson et al. 2016); needs its ImageNet weights",
            VGGPerceptualConfig,
            "rvtool_plugins.losses.perceptual:VGGPerceptual",
        ),
        Component(
            "lpips",
            "LPIPS, fitted to what people find alike (Zhang et al. 2018); needs ImageNet weights",
            LPIPSConfig,
            "rvtool_plugins.losses.perceptual:LPIPS",
        ),
        Component(
            "radio-perceptual",
            "Difference of what a classifier of radio images sees; works offline",
            RadioPerceptualConfig,
            "rvtool_plugins.losses.perceptual:RadioPerceptual",
        ),
        Component(
            "lsgan",
            "Adversarial: least squares (Mao et al. 2017)",
            AdversarialConfig,
            "rvtool_plugins.losses.adversarial:LSGAN",
        ),
        Component(
            "hinge",
            "Adversarial: hinge (Miyato et al. 2018)",
            AdversarialConfig,
            "rvtool_plugins.losses.adversarial:Hinge",
        ),
        Component(
            "bce-gan",
            "Adversarial: the original, non-saturating (Goodfellow et al. 2014)",
            BCEGANConfig,
            "rvtool_plugins.losses.adversarial:BCEGAN",
        ),
        Component(
            "relativistic",
            "Adversarial: real against generated on average (Jolicoeur-Martineau 2018)",
            AdversarialConfig,
            "rvtool_plugins.losses.adversarial:Relativistic",
        ),
        Component(
            "wgan-gp",
            "Adversarial: Wasserstein distance with a penalty on the slope (Gulrajani et al. 2017)",
            WGANConfig,
            "rvtool_plugins.losses.adversarial:WGAN",
        ),
        Component(
            "feature-matching",
            "Difference of what the discriminator's layers see (Wang et al. 2018)",
            Config,
            "rvtool_plugins.losses.adversarial:FeatureMatching",
        ),
    ]
