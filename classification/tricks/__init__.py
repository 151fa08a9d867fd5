"""The tricks by name. A trick is one file in this folder and one line in `TRICKS`."""

from __future__ import annotations

from classification.tricks.aug_mix import AugMix
from classification.tricks.auto_augment import AutoAugment
from classification.tricks.binary_cross_entropy import BinaryCrossEntropy
from classification.tricks.channels_last import ChannelsLast
from classification.tricks.color_scaling import ColorScaling
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
from classification.tricks.evaluation_crop import EvaluationCrop
from classification.tricks.exponential_decay import ExponentialDecay
from classification.tricks.gradient_accumulation import GradientAccumulation
from classification.tricks.gradient_clipping import GradientClipping
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.input_mixup import InputMixup
from classification.tricks.inverse_decay import InverseDecay
from classification.tricks.kaiming_initialization import KaimingInitialization
from classification.tricks.l1_penalty import L1Penalty
from classification.tricks.label_noise import LabelNoise
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.large_batch import LargeBatch
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
from classification.tricks.polynomial_decay import PolynomialDecay
from classification.tricks.pretrained import Pretrained
from classification.tricks.rand_augment import RandAugment
from classification.tricks.random_erasing import RandomErasing
from classification.tricks.random_resized_crop import RandomResizedCrop
from classification.tricks.repeated_augmentation import RepeatedAugmentation
from classification.tricks.same_class_mixup import SameClassMixup
from classification.tricks.schedule import Schedule
from classification.tricks.step_decay import StepDecay
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
    "color_scaling": ColorScaling,
    "pca_lighting": PCALighting,
    "auto_augment": AutoAugment,
    "rand_augment": RandAugment,
    "aug_mix": AugMix,
    "trivial_augment": TrivialAugment,
    "cutout": Cutout,
    "random_erasing": RandomErasing,
    "repeated_augmentation": RepeatedAugmentation,
    "train_resolution": TrainResolution,
    "evaluation_crop": EvaluationCrop,
    "optimizer": UseOptimizer,
    "lookahead": Lookahead,
    "dropout": Dropout,
    "drop_path": DropPath,
    "l1_penalty": L1Penalty,
    "weight_decay": WeightDecay,
    "gradient_clipping": GradientClipping,
    "early_stopping": EarlyStopping,
    "xavier_initialization": XavierInitialization,
    "kaiming_initialization": KaimingInitialization,
    "pretrained": Pretrained,
}

__all__ = [
    "EMA",
    "TRICKS",
    "AugMix",
    "AutoAugment",
    "BinaryCrossEntropy",
    "Card",
    "ChannelsLast",
    "ColorScaling",
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
    "EvaluationCrop",
    "ExponentialDecay",
    "GradientAccumulation",
    "GradientClipping",
    "HalfPrecision",
    "InputMixup",
    "InverseDecay",
    "KaimingInitialization",
    "L1Penalty",
    "LabelNoise",
    "LabelSmoothing",
    "LargeBatch",
    "LinearDecay",
    "Lookahead",
    "ManifoldMixup",
    "Mixup",
    "MixupOrCutMix",
    "NearestNeighborMixup",
    "NoBiasDecay",
    "OneCycle",
    "PCALighting",
    "PolynomialDecay",
    "Pretrained",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
    "RepeatedAugmentation",
    "SameClassMixup",
    "Schedule",
    "StepDecay",
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
