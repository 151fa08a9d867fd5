"""Fast AutoAugment: published pairs of image operations, or pairs found on one's own images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classification.policy import Policy, apply_policy
from classification.policy_file import PUBLISHED, policy_digest, published_policy, read_policy
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np

    from classification.recipe import Recipe

SEARCH = "search"
"""The policy that is found before a fine-tuning begins."""
MOST_IMAGES = 2000
"""That the search looks at, of all classes together: the paper takes 4,000 of CIFAR-10."""


@dataclass(frozen=True)
class FastAutoAugment(Trick):
    """policy: "imagenet", "cifar10" or "svhn", which the authors found on these data; a JSON file
    of a policy; or "search", in fine-tuning alone: before the training a policy is found on the
    training images by density matching, and left as policy.json, so that later recipes can name
    that file. trials: sub-policies that are tried in each of the search's 5 folds.
    """

    policy: str = "imagenet"
    trials: int = 60

    name = "fast_auto_augment"
    kind = "augmentation"
    alternatives = "augmentation_policy"
    card = Card(
        paper="Lim et al. 2019, arXiv:1905.00397",
        section="section 3.2 and Algorithm 1",
        equation="eq. 3, the loss of augmented held-out images is smallest",
        effect="76.3 to 77.6 for ResNet-50, as by AutoAugment, whose search took 33 times as long",
    )

    def __post_init__(self) -> None:
        if self.trials < 20:
            raise ValueError(f"trials must be at least 20, not {self.trials}")
        found: Policy | None = None
        if self.policy in PUBLISHED:
            found = published_policy(self.policy)
        elif self.policy != SEARCH:
            found = read_policy(self._file())
        object.__setattr__(self, "sub_policies", found)
        if found is None:
            object.__setattr__(self, "stage", "finetune")

    def _file(self) -> Path:
        path = Path(self.policy).expanduser()
        if path.suffix != ".json":
            raise ValueError(
                f"policy must be one of {', '.join(PUBLISHED)}, {SEARCH}, or a .json file, "
                f"not {self.policy!r}"
            )
        return path

    @property
    def searches(self) -> bool:
        """Whether the policy is still to be found."""
        return self.policy == SEARCH

    def to_dict(self) -> dict[str, Any]:
        """Of a file what is in it and not where it lies."""
        if self.searches:
            return {"policy": SEARCH, "trials": self.trials}
        if self.policy in PUBLISHED:
            return {"policy": self.policy}
        return {"policy": "file", "sha256": policy_digest(self._policy())}

    def _policy(self) -> Policy:
        policy: Policy | None = vars(self)["sub_policies"]
        if policy is None:
            raise ValueError(
                "fast_auto_augment: the policy is still to be found, which a fine-tuning does "
                "before it begins; name a policy or a file"
            )
        return policy

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return apply_policy(view, self._policy(), rng)


def search_of(recipe: Recipe) -> FastAutoAugment | None:
    """The recipe's trick where its policy is still to be found; None elsewhere."""
    found = (trick for trick in recipe.tricks if isinstance(trick, FastAutoAugment))
    return next((trick for trick in found if trick.searches), None)
