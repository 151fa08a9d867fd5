"""Everything that moves the numbers of the probes, as plain JSON."""

from __future__ import annotations

from typing import Any, Literal

from backbones.provenance import version
from benchmarks.schema import Benchmark

# Raised by one whenever a change to the code changes what the probes compute.
REVISION = 1

NEEDS_IMAGES = "its images are probed; leave probes out of --tasks"
MOST_TRAINING_IMAGES = 200_000
"""Of all classes together; each class gets the same share of them. Of 2,048 numbers each their
features take 1.6 GB; a tenth of ImageNet's images is below the share."""
REGULARIZATION = 0.01
"""C of the logistic regression, the inverse of its L2 penalty. One value for everything: of 0.001,
0.01, 0.1 and 1 the best on the features of mini's resnet50d_mixup, from 1 % of the images (71.2 on
validation) as from all (80.4)."""
ITERATIONS = 500
"""Of L-BFGS at most."""
NEIGHBORS = 20
TEMPERATURE = 0.07
"""Of the neighbors' votes; both as DINO has them (Caron et al., arXiv:2104.14294, appendix F.1)."""
FEW_SHOTS = (1, 5, 10)
"""Percent of each class's training images."""
MOST_OWN_IMAGES = 5_000
"""Of all classes together, where the images are one's own: enough to rank backbones by."""
MOST_FOLDS = 5

Probed = Literal["pretraining", "finetune"]


def probed_stage(benchmark: Benchmark) -> Probed:
    """Whose images are probed: the pretraining's, and where there are none one's own."""
    own = benchmark.pretraining is None and benchmark.finetune is not None
    return "finetune" if own else "pretraining"


def probes_protocol(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """What is probed, on which images, by which classifiers."""
    if probed_stage(benchmark) == "finetune":
        return _of_own_images(benchmark, data_digest)
    budget = benchmark.require_pretraining(NEEDS_IMAGES)
    return {
        "stage": "probes",
        "revision": REVISION,
        "metric": "top-1 in percent on the validation images, of classifiers on frozen features",
        "features": "global average of C5, evaluation mode; crop at the benchmark's size, in "
        "the architecture's own proportion, float32",
        "budget": {"image_size": budget.image_size, "resize_size": budget.resize_size},
        "data": data_digest,
        **budget.left_out_facts(),
        "preprocessing": "mean, std and interpolation of the artifact",
        "training_images": "the pretraining's own, so that features are probed on what they were "
        f"trained on; at most {MOST_TRAINING_IMAGES} of all classes, drawn by the seed",
        **_classifiers(),
        "few_shots": f"the linear probe on {', '.join(map(str, FEW_SHOTS))} % of each class's "
        "training images, rounded up, drawn by the seed",
        "versions": {name: version(name) for name in ("torch", "scikit-learn")},
    }


def _of_own_images(benchmark: Benchmark, data_digest: str) -> dict[str, Any]:
    """Test images have no part in it: what is chosen by the probes is tested on them later."""
    budget = benchmark.finetune
    assert budget is not None, "probed_stage has looked"
    return {
        "stage": "probes",
        "revision": REVISION,
        "metric": "top-1 in percent of the training images of [finetune], of classifiers on frozen "
        "features of the other folds",
        "features": "global average of C5, evaluation mode; crop at the benchmark's size, in "
        "the architecture's own proportion, float32",
        "budget": {"image_size": budget.image_size, "resize_size": budget.resize_size},
        "data": data_digest,
        **budget.left_out_facts(),
        "preprocessing": "mean, std and interpolation of the artifact",
        "training_images": f"at most {MOST_OWN_IMAGES} of all classes, drawn by the seed; in "
        f"{MOST_FOLDS} stratified folds, fewer where a class has fewer images; groups stay whole",
        **_classifiers(),
        "versions": {name: version(name) for name in ("torch", "scikit-learn")},
    }


def _classifiers() -> dict[str, Any]:
    return {
        "linear_probe": {
            "classifier": "multinomial logistic regression on standardized features",
            "C": REGULARIZATION,
            "iterations": ITERATIONS,
        },
        "knn": {"neighbors": NEIGHBORS, "similarity": "cosine", "temperature": TEMPERATURE},
    }
