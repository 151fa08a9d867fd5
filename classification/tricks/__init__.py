"""The tricks by name. A trick is one file in this folder and one line in `TRICKS`."""

from __future__ import annotations

from classification.tricks.affine import Affine
from classification.tricks.alpha_channel import AlphaChannel
from classification.tricks.aug_mix import AugMix
from classification.tricks.auto_augment import AutoAugment
from classification.tricks.auto_contrast import AutoContrast
from classification.tricks.ben_graham import BenGraham
from classification.tricks.best_weights import BestWeights
from classification.tricks.binary_cross_entropy import BinaryCrossEntropy
from classification.tricks.center_crop import CenterCrop
from classification.tricks.channels_last import ChannelsLast
from classification.tricks.color_scaling import ColorScaling
from classification.tricks.color_skew import ColorSkew
from classification.tricks.color_space import ColorSpace
from classification.tricks.compile import Compile
from classification.tricks.cooldown import Cooldown
from classification.tricks.cosine_decay import CosineDecay
from classification.tricks.cut_mix import CutMix
from classification.tricks.cutout import Cutout
from classification.tricks.distillation import Distillation
from classification.tricks.drop_path import DropPath
from classification.tricks.dropout import Dropout
from classification.tricks.early_stopping import EarlyStopping
from classification.tricks.ema import EMA
from classification.tricks.epochs import Epochs
from classification.tricks.equalize import Equalize
from classification.tricks.evaluation_crop import EvaluationCrop
from classification.tricks.exponential_decay import ExponentialDecay
from classification.tricks.fast_auto_augment import FastAutoAugment
from classification.tricks.flips import Flips
from classification.tricks.found_learning_rate import FoundLearningRate
from classification.tricks.gradient_accumulation import GradientAccumulation
from classification.tricks.gradient_clipping import GradientClipping
from classification.tricks.gradual_unfreezing import GradualUnfreezing
from classification.tricks.grey import Grey
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.head_only import HeadOnly
from classification.tricks.hidden_layers import HiddenLayers
from classification.tricks.input_mixup import InputMixup
from classification.tricks.inverse_decay import InverseDecay
from classification.tricks.invert import Invert
from classification.tricks.kaiming_initialization import KaimingInitialization
from classification.tricks.l1_penalty import L1Penalty
from classification.tricks.label_noise import LabelNoise
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.large_batch import LargeBatch
from classification.tricks.layer_decay import LayerDecay
from classification.tricks.linear_decay import LinearDecay
from classification.tricks.lookahead import Lookahead
from classification.tricks.manifold_mixup import ManifoldMixup
from classification.tricks.mixup import Mixup
from classification.tricks.mixup_or_cut_mix import MixupOrCutMix
from classification.tricks.nearest_neighbor_mixup import NearestNeighborMixup
from classification.tricks.no_bias_decay import NoBiasDecay
from classification.tricks.one_cycle import OneCycle
from classification.tricks.optimizer import UseOptimizer
from classification.tricks.pca_lighting import PCALighting
from classification.tricks.per_image_normalization import PerImageNormalization
from classification.tricks.perspective import Perspective
from classification.tricks.plain_views import PlainViews
from classification.tricks.polynomial_decay import PolynomialDecay
from classification.tricks.posterize import Posterize
from classification.tricks.pretrained import Pretrained
from classification.tricks.pseudo_labels import PseudoLabels
from classification.tricks.rand_augment import RandAugment
from classification.tricks.random_crop import RandomCrop
from classification.tricks.random_erasing import RandomErasing
from classification.tricks.random_resized_crop import RandomResizedCrop
from classification.tricks.repeated_augmentation import RepeatedAugmentation
from classification.tricks.rotation import Rotation
from classification.tricks.same_class_mixup import SameClassMixup
from classification.tricks.schedule import Schedule
from classification.tricks.solarize import Solarize
from classification.tricks.step_decay import StepDecay
from classification.tricks.test_time_views import TestTimeViews
from classification.tricks.train_resolution import TrainResolution
from classification.tricks.triangular import Triangular
from classification.tricks.trick import Card, Trick
from classification.tricks.trivial_augment import TrivialAugment
from classification.tricks.vicinal_noise import VicinalNoise
from classification.tricks.warm_restarts import WarmRestarts
from classification.tricks.warmup import Warmup
from classification.tricks.weight_decay import WeightDecay
from classification.tricks.xavier_initialization import XavierInitialization
from classification.tricks.zero_gamma import ZeroGamma

TRICKS: dict[str, type[Trick]] = {
    "large_batch": LargeBatch,
    "warmup": Warmup,
    "zero_gamma": ZeroGamma,
    "no_bias_decay": NoBiasDecay,
    "half_precision": HalfPrecision,
    "epochs": Epochs,
    "cooldown": Cooldown,
    "gradient_accumulation": GradientAccumulation,
    "ema": EMA,
    "channels_last": ChannelsLast,
    "compile": Compile,
    "step_decay": StepDecay,
    "exponential_decay": ExponentialDecay,
    "inverse_decay": InverseDecay,
    "polynomial_decay": PolynomialDecay,
    "linear_decay": LinearDecay,
    "cosine_decay": CosineDecay,
    "warm_restarts": WarmRestarts,
    "one_cycle": OneCycle,
    "triangular": Triangular,
    "label_smoothing": LabelSmoothing,
    "label_noise": LabelNoise,
    "distillation": Distillation,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mixup": Mixup,
    "cut_mix": CutMix,
    "mixup_or_cut_mix": MixupOrCutMix,
    "same_class_mixup": SameClassMixup,
    "nearest_neighbor_mixup": NearestNeighborMixup,
    "input_mixup": InputMixup,
    "manifold_mixup": ManifoldMixup,
    "vicinal_noise": VicinalNoise,
    "random_resized_crop": RandomResizedCrop,
    "flips": Flips,
    "random_crop": RandomCrop,
    "center_crop": CenterCrop,
    "rotation": Rotation,
    "affine": Affine,
    "perspective": Perspective,
    "color_scaling": ColorScaling,
    "pca_lighting": PCALighting,
    "color_skew": ColorSkew,
    "invert": Invert,
    "posterize": Posterize,
    "solarize": Solarize,
    "auto_contrast": AutoContrast,
    "equalize": Equalize,
    "auto_augment": AutoAugment,
    "fast_auto_augment": FastAutoAugment,
    "rand_augment": RandAugment,
    "aug_mix": AugMix,
    "trivial_augment": TrivialAugment,
    "cutout": Cutout,
    "random_erasing": RandomErasing,
    "repeated_augmentation": RepeatedAugmentation,
    "train_resolution": TrainResolution,
    "evaluation_crop": EvaluationCrop,
    "grey": Grey,
    "color_space": ColorSpace,
    "per_image_normalization": PerImageNormalization,
    "ben_graham": BenGraham,
    "alpha_channel": AlphaChannel,
    "optimizer": UseOptimizer,
    "lookahead": Lookahead,
    "dropout": Dropout,
    "drop_path": DropPath,
    "l1_penalty": L1Penalty,
    "weight_decay": WeightDecay,
    "gradient_clipping": GradientClipping,
    "found_learning_rate": FoundLearningRate,
    "early_stopping": EarlyStopping,
    "xavier_initialization": XavierInitialization,
    "kaiming_initialization": KaimingInitialization,
    "pretrained": Pretrained,
    "layer_decay": LayerDecay,
    "gradual_unfreezing": GradualUnfreezing,
    "head_only": HeadOnly,
    "hidden_layers": HiddenLayers,
    "plain_views": PlainViews,
    "best_weights": BestWeights,
    "test_time_views": TestTimeViews,
    "pseudo_labels": PseudoLabels,
}

__all__ = [
    "EMA",
    "TRICKS",
    "Affine",
    "AlphaChannel",
    "AugMix",
    "AutoAugment",
    "AutoContrast",
    "BenGraham",
    "BestWeights",
    "BinaryCrossEntropy",
    "Card",
    "CenterCrop",
    "ChannelsLast",
    "ColorScaling",
    "ColorSkew",
    "ColorSpace",
    "Compile",
    "Cooldown",
    "CosineDecay",
    "CutMix",
    "Cutout",
    "Distillation",
    "DropPath",
    "Dropout",
    "EarlyStopping",
    "Epochs",
    "Equalize",
    "EvaluationCrop",
    "ExponentialDecay",
    "FastAutoAugment",
    "Flips",
    "FoundLearningRate",
    "GradientAccumulation",
    "GradientClipping",
    "GradualUnfreezing",
    "Grey",
    "HalfPrecision",
    "HeadOnly",
    "HiddenLayers",
    "InputMixup",
    "InverseDecay",
    "Invert",
    "KaimingInitialization",
    "L1Penalty",
    "LabelNoise",
    "LabelSmoothing",
    "LargeBatch",
    "LayerDecay",
    "LinearDecay",
    "Lookahead",
    "ManifoldMixup",
    "Mixup",
    "MixupOrCutMix",
    "NearestNeighborMixup",
    "NoBiasDecay",
    "OneCycle",
    "PCALighting",
    "PerImageNormalization",
    "Perspective",
    "PlainViews",
    "PolynomialDecay",
    "Posterize",
    "Pretrained",
    "PseudoLabels",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "RepeatedAugmentation",
    "Rotation",
    "SameClassMixup",
    "Schedule",
    "Solarize",
    "StepDecay",
    "TestTimeViews",
    "TrainResolution",
    "Triangular",
    "Trick",
    "TrivialAugment",
    "UseOptimizer",
    "VicinalNoise",
    "WarmRestarts",
    "Warmup",
    "WeightDecay",
    "XavierInitialization",
    "ZeroGamma",
]
