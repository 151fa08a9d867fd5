"""The optimizer of a recipe by its name in timm, and which parameters it decays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbones.catalog import UnknownNameError, nearest
from engine.fast_paths import is_fast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch
    from torch import nn

# Which knobs an optimizer takes beside learning rate and weight decay. timm's names, and two of
# the literature's. Left out are those that need second derivatives, other packages or a random
# state of their own, and timm's variations on those that are here.
_KNOBS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum",),
    "nag": ("momentum",),
    "momentum": ("momentum",),
    "sgdw": ("momentum",),
    "sgdp": ("momentum", "eps"),
    "adam": ("betas", "eps"),
    "adamw": ("betas", "eps"),
    "adamax": ("betas", "eps"),
    "adamp": ("betas", "eps"),
    "nadam": ("betas", "eps"),
    "nadamw": ("betas", "eps"),
    "radam": ("betas", "eps"),
    "ranger": ("betas", "eps"),
    "adabelief": ("betas", "eps"),
    "adan": ("betas", "eps"),
    "adopt": ("betas", "eps"),
    "adafactor": ("betas", "eps"),
    "adagrad": ("eps",),
    "adadelta": ("eps",),
    "rmsprop": ("momentum", "eps"),
    "rmsproptf": ("momentum", "eps"),
    "lamb": ("betas", "eps"),
    "lars": ("momentum", "eps"),
    "lion": ("betas",),
    "laprop": ("betas", "eps"),
    "madgrad": ("momentum", "eps"),
    "novograd": ("betas", "eps"),
}

OPTIMIZERS: tuple[str, ...] = tuple(_KNOBS)
"""The names that `Optimizer` knows."""


def states_of(name: str) -> int:
    """How many numbers an optimizer of OPTIMIZERS keeps for each weight, about; without lookahead's
    copy."""
    return 2 if "betas" in _KNOBS[name] else 1


_IN_TIMM = {"nag": "sgd", "ranger": "radam"}
_NESTEROV = ("sgd", "nag", "sgdw", "sgdp")
_THREE_BETAS = ("adan",)
_FUSED = ("sgd", "nag", "momentum", "adam", "adamw", "adagrad")
"""torch's own, of which it has one kernel for all weights, on CPUs and GPUs."""


@dataclass(frozen=True, kw_only=True)
class LookaheadKnobs:
    """Slow weights go the share alpha of the way to the fast ones, every k steps."""

    alpha: float = 0.5
    k: int = 6

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must lie in (0, 1], not {self.alpha}")
        if self.k < 1 or self.k != int(self.k):
            raise ValueError(f"k must be a whole number of steps, at least 1, not {self.k}")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer of timm's registry, by name, and its knobs.

    name: one of OPTIMIZERS. "sgd" and "nag" are stochastic gradient descent with Nesterov's
    momentum, "momentum" with the classical one; "ranger" is RAdam under Lookahead.
    learning_rate: of the recipe's batch size. weight_decay: how it acts is the optimizer's own
    affair: an L2 penalty's gradient for sgd and adam, decoupled from the gradient for adamw.
    momentum, betas, eps: None leaves timm's own value (momentum 0.9). lookahead: the slow
    weights of Lookahead, around any of them.

    Raises UnknownNameError for a name that is not in OPTIMIZERS, ValueError for knobs that are
    out of range or that this optimizer does not take.
    """

    name: str = "sgd"
    learning_rate: float
    weight_decay: float = 1e-4
    momentum: float | None = None
    betas: tuple[float, ...] | None = None
    eps: float | None = None
    lookahead: LookaheadKnobs | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, not {self.weight_decay}")
        for knob in ("momentum", "betas", "eps"):
            value = getattr(self, knob)
            if value is not None and knob not in _KNOBS[self.name]:
                raise ValueError(
                    f"the optimizer {self.name} has no {knob}, not {value}: it takes "
                    f"{', '.join(('learning_rate', 'weight_decay', *_KNOBS[self.name]))}"
                )
        self._check_momentum()
        self._check_betas()
        if self.eps is not None and not self.eps >= 0:
            raise ValueError(f"eps must not be negative, not {self.eps}")

    def _check_momentum(self) -> None:
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if self.momentum == 0 and self.name in _NESTEROV:
            raise ValueError(
                f"{self.name} has Nesterov's momentum, which must be above 0, not 0: for none at "
                "all name the optimizer 'momentum'"
            )

    def _check_betas(self) -> None:
        if self.betas is None:
            return
        # Lists come from JSON and TOML files; a frozen object is to be hashable.
        object.__setattr__(self, "betas", tuple(self.betas))
        count = 3 if self.name in _THREE_BETAS else 2
        if len(self.betas) != count or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(
                f"betas of {self.name} must be {count} numbers in [0, 1), not {self.betas}"
            )

    def build(
        self,
        model: nn.Module,
        *,
        decays: Callable[[nn.Parameter], bool],
        lr_scale: float = 1.0,
        parts: Sequence[tuple[float, Sequence[nn.Parameter]]] | None = None,
    ) -> torch.optim.Optimizer:
        """A torch optimizer of two groups: parameters for which `decays` holds, the others.

        A group that would be empty is left out. lr_scale: factor on the learning rate. parts:
        each with a factor of its own and groups of its own; together the model's parameters.
        """
        from timm.optim import Lookahead, create_optimizer_v2

        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            self._groups(model, decays, lr_scale, parts),
            opt=_IN_TIMM.get(self.name, self.name),
            lr=self.learning_rate * lr_scale,
            weight_decay=self.weight_decay,
            filter_bias_and_bn=False,
            **({"fused": True} if self.name in _FUSED and is_fast("fused_optimizer") else {}),
            **self._own_knobs(),
        )
        lookahead = self.lookahead
        if lookahead is None and self.name == "ranger":
            lookahead = LookaheadKnobs()
        if lookahead is None:
            return optimizer
        alpha, k = lookahead.alpha, lookahead.k
        ahead: torch.optim.Optimizer = Lookahead(optimizer, alpha=alpha, k=k)
        return ahead

    def _groups(
        self,
        model: nn.Module,
        decays: Callable[[nn.Parameter], bool],
        lr_scale: float,
        parts: Sequence[tuple[float, Sequence[nn.Parameter]]] | None,
    ) -> list[dict[str, Any]]:
        if parts is None:
            return _groups(model.parameters(), decays=decays, weight_decay=self.weight_decay)
        return [
            {**group, "lr": self.learning_rate * lr_scale * scale}
            for scale, parameters in parts
            for group in _groups(parameters, decays=decays, weight_decay=self.weight_decay)
        ]

    def _own_knobs(self) -> dict[str, Any]:
        given = {"momentum": self.momentum, "betas": self.betas, "eps": self.eps}
        return {knob: value for knob, value in given.items() if value is not None}


def SGD(
    *,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    nesterov: bool = True,
) -> Optimizer:
    """Stochastic gradient descent; He et al. 2019, section 2.1: Nesterov's accelerated gradient.

    learning_rate belongs to the recipe's batch size (section 3.1, linear scaling).
    """
    return Optimizer(
        name="sgd" if nesterov else "momentum",
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
    )


def _check_name(name: str) -> None:
    if name in _KNOBS:
        return
    close = nearest(name, OPTIMIZERS)
    hint = f"the nearest are {', '.join(close)}; " if close else ""
    raise UnknownNameError(f"unknown optimizer {name!r}: {hint}known: {', '.join(OPTIMIZERS)}")


def _groups(
    given: Iterable[nn.Parameter],
    *,
    decays: Callable[[nn.Parameter], bool],
    weight_decay: float,
) -> list[dict[str, Any]]:
    parameters = [p for p in given if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if decays(p)], "weight_decay": weight_decay},
        {"params": [p for p in parameters if not decays(p)], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
