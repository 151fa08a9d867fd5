"""SPEC, the names that `--backbone` takes, read without importing torch.

resnet50d_mixup               an architecture and the recipe that pretrains it
resnet50d_mixup-warmup        the recipe without one of its tricks; several: -warmup-epochs
resnet50d_smooth+mixup        the recipe and a trick more, with the trick's default knobs
resnet50d_mixup-all+warmup    -all takes all tricks away; + gives one back as the recipe has it
timm:levit_384_usi            the same for an architecture of timm
scratch:resnet50d             random weights, the control of every resnet50d_<recipe>
scratch:timm:<model>          random weights of a timm model (torchvision: the same)
timm:<model>[.<tag>][@FILE]   a timm model with its published weights, or those of a file
torchvision:<model>[@NAME]    a torchvision model, and the name (or file) of its weights
hf:<org>/<name>[@revision]    a timm model of the Hugging Face hub, at a branch, tag or commit
resnet50d@FILE                one of our architectures with the weights of a file
path/to/artifact              a directory that `pretrain` or `obtain` has written
resnet50d_*                   every name that fits (quote it, or the shell may expand it)
SPEC~RECIPE                   any of these, fine-tuned on one's own images with that recipe:
                              ~finetune, ~finetune-layer_decay+mixup; it has that task alone

FILE is a .safetensors file, or a .pth, .pt or .bin of tensors alone. It must hold every tensor of
the network under its name (or all in its order), and nothing else but a classifier; what training
scripts put around a state dict or before its names ("model", "module.", ...) is taken off.

A derived recipe that is a registered one bears its name: resnet50d_mixup-epochs-mixup is
resnet50d_smooth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeVar

from backbones.card import CARD_NAME, ArtifactError, read_card
from backbones.catalog import ARCHITECTURES, UnknownNameError, check_architecture, nearest
from backbones.huggingface_models import find_hub_model
from classification.derived import find_recipe, registered_name
from classification.names import parse_backbone, split_recipe
from classification.recipes import FINE_TUNING, RECIPES

Kind = Literal["trained", "scratch", "timm", "torchvision", "hf", "file", "artifact"]

T = TypeVar("T", bound=str)

_HUB_LIKE = re.compile(r"\w[\w.\-]*/\w[\w.\-]*(@\w[\w.\-]*)?")
_PREFIXES = ("scratch", "timm", "torchvision", "hf")
PLAIN = "plain"
"""The recipe that all others of fine-tuning are compared with."""

_TUNED = re.compile(r"(?P<backbone>.*[^@/])/?~(?P<recipe>[a-z0-9_]+(?:[-+][a-z0-9_]+)*)")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One backbone. name: as it stands in tables; architecture: "resnet50d", "timm:<model>", ...

    kind: "file" is one of our architectures with weights of others; "hf" a model of the Hugging
    Face hub, whose architecture is `timm:<model>`. recipe: of a trained one; file: weights of an
    imported model, or the directory of an artifact; weights: torchvision's name of a set of
    weights, or the hub's name of a model with its commit; tricks: what the recipe is made of.
    tuning: the recipe that it is fine-tuned with, where the name says one after a `~`; its tricks
    follow those of the pretraining, each behind a `~` as well.
    """

    kind: Kind
    name: str
    architecture: str
    recipe: str | None = None
    file: Path | None = None
    weights: str | None = None
    tricks: tuple[str, ...] = ()
    tuning: str | None = None

    @property
    def is_control(self) -> bool:
        return self.kind == "scratch"

    @property
    def control(self) -> Spec:
        """The same architecture from random weights, fine-tuned with the same recipe, as it stands
        in records; of random weights themselves. What a row is compared with: `compared_with`."""
        if self.is_control:
            return self
        name = f"scratch:{self.architecture}"
        control = Spec(kind="scratch", name=name, architecture=self.architecture)
        return control if self.tuning is None else control.tuned(self.tuning)

    @property
    def compared_with(self) -> Spec | None:
        """What its differences are to: the control; of a name with a recipe of fine-tuning, the
        same weights fine-tuned by `plain`. None for what others are compared with."""
        if self.tuning is not None:
            return None if self.tuning == PLAIN else self.untuned.tuned(PLAIN)
        return None if self.is_control else self.control

    def tuned(self, recipe: str) -> Spec:
        """The same backbone, fine-tuned with a recipe. Raises ValueError as `find_recipe` does."""
        recipe = registered_name(recipe, FINE_TUNING)  # one recipe, one name
        added = (f"~{trick}" for trick in find_recipe(recipe, FINE_TUNING).trick_names)
        own = self.untuned
        name, tricks = f"{own.name}~{recipe}", (*own.tricks, *added)
        return replace(own, name=name, tricks=tricks, tuning=recipe)

    @property
    def untuned(self) -> Spec:
        """The backbone alone, whose weights all its recipes of fine-tuning start from."""
        if self.tuning is None:
            return self
        name = self.name.removesuffix(f"~{self.tuning}")
        tricks = tuple(trick for trick in self.tricks if not trick.startswith("~"))
        return replace(self, name=name, tricks=tricks, tuning=None)

    @property
    def is_foreign(self) -> bool:
        """A timm or torchvision model: it comes as it is, a benchmark's width does not touch it."""
        return ":" in self.architecture


def compared_with(name: str, control: str | None) -> str | None:
    """As `Spec.compared_with`, of the row of a record, which is named and not a spec."""
    recipe = tuning_of(name)
    if recipe is None:
        return control
    return None if recipe == PLAIN else f"{weights_of(name)}~{PLAIN}"


def weights_of(name: str) -> str:
    """The name of a row without its recipe of fine-tuning."""
    found = _TUNED.fullmatch(name)
    return name if found is None else found["backbone"]


def tuning_of(name: str) -> str | None:
    """The recipe of fine-tuning in the name of a row, without a look at what it is."""
    found = _TUNED.fullmatch(name)
    return None if found is None else found["recipe"]


def expected_tasks(name: str, tasks: Iterable[T]) -> tuple[T, ...]:
    """Those that a row takes part in: with a recipe of fine-tuning in its name only that one."""
    tuned = tuning_of(name) is not None
    return tuple(task for task in tasks if not tuned or task == "finetune")


def parse_specs(texts: Iterable[str]) -> list[Spec]:
    """All of `parse_spec`'s in order, each name once."""
    specs: dict[str, Spec] = {}
    for text in texts:
        for spec in parse_spec(text):
            if specs.setdefault(spec.name, spec) != spec:
                raise ValueError(f"two files bear the name of {spec.name}; rename one of them")
    return list(specs.values())


def parse_spec(text: str) -> list[Spec]:
    """The backbones that one SPEC names; more than one only for a wildcard.

    Raises:
        UnknownNameError: no architecture, recipe or prefix bears the name; says the nearest.
        HubError: the config.json of a model of the hub cannot be had, or is no timm model's.
        ValueError: a file or directory is missing, or the artifact in it has no readable card, or
            its name cannot be told from one with a recipe of fine-tuning; two such recipes.
    """
    specs = _parse(text)
    for spec in specs:
        if spec.tuning is None and (recipe := tuning_of(spec.name)) is not None:
            raise ValueError(
                f"{spec.name} is a path that ends in ~{recipe}, and so its row would be one with "
                "the recipe of fine-tuning of that name: rename the file or folder, or give the "
                "name of a link to it"
            )
    return specs


def _parse(text: str) -> list[Spec]:
    text = text.strip()
    if not text:
        raise ValueError("an empty backbone name; expected for example resnet50d_mixup")
    check_recipe_is_said(text)
    if (found := _TUNED.fullmatch(text)) and not _is_there(text):
        specs = _parse(found["backbone"])
        for spec in specs:
            if spec.tuning is not None:
                raise ValueError(
                    f"{text!r} has two recipes of fine-tuning, ~{spec.tuning} and "
                    f"~{found['recipe']}: a row has one; expected {spec.untuned.name}~RECIPE"
                )
        return [spec.tuned(found["recipe"]) for spec in specs]
    architecture, at, file = text.partition("@")
    if at and architecture in ARCHITECTURES:
        path = _weights_file(text, file)
        name = f"{architecture}@{path.name}"
        return [Spec(kind="file", name=name, architecture=architecture, file=path)]
    prefix, colon, rest = text.partition(":")
    if prefix in ("timm", "torchvision") and "@" not in text and split_recipe(text) is not None:
        return [_trained(text)]
    if colon and "/" not in prefix:
        return _prefixed(text, prefix, rest)
    if _looks_like_path(architecture):
        return [_artifact(text)]
    if at and not (Path(text) / CARD_NAME).is_file():
        check_architecture(architecture)
    if "*" in text or "?" in text:
        return [_trained(name) for name in _expand(text, _all_trained())]
    try:
        return [_trained(text)]
    except UnknownNameError as error:
        if (Path(text) / CARD_NAME).is_file():
            return [_artifact(text)]
        if text in ARCHITECTURES:
            hints = f"{text}_<recipe> ({', '.join(RECIPES)}), or scratch:{text}"
            raise UnknownNameError(f"{text!r} names no weights: expected {hints}") from error
        raise


def check_recipe_is_said(text: str) -> None:
    """Raises UnknownNameError for a ~ without a recipe, or with more than a recipe's name."""
    backbone, sign, recipe = text.rpartition("~")
    if not sign or not backbone or backbone.endswith("@") or _is_there(text):
        return
    if not recipe:
        known = ", ".join(FINE_TUNING.recipes)
        raise UnknownNameError(f"{text!r}: no recipe after the ~; there are {known}")
    if "=" in recipe:
        raise UnknownNameError(
            f"{text!r}: a name says which tricks there are, and none of their knobs; write a "
            "recipe with them in a file of your own (--recipes FILE.py)"
        )


def _is_there(text: str) -> bool:
    """Whether a path, or the weights file behind an @, has this very name."""
    paths = (text, text.partition("@")[2])
    return any(Path(path).expanduser().exists() for path in paths if path)


def _prefixed(text: str, prefix: str, rest: str) -> list[Spec]:
    if prefix == "scratch":
        if "*" in rest or "?" in rest:
            names = _expand(text, [f"scratch:{name}" for name in ARCHITECTURES])
            return [spec for name in names for spec in parse_spec(name)]
        check_architecture(rest)
        return [Spec(kind="scratch", name=text, architecture=rest)]
    if prefix == "timm":
        model, at, file = rest.partition("@")
        check_architecture(f"timm:{model}")
        path = _weights_file(text, file) if at else None
        name = f"timm:{model}@{path.name}" if path is not None else text
        return [Spec(kind="timm", name=name, architecture=f"timm:{model}", file=path)]
    if prefix == "torchvision":
        model, at, weights = rest.partition("@")
        architecture = f"torchvision:{model}"
        check_architecture(architecture)
        if at and not re.fullmatch(r"\w+", weights):
            path = _weights_file(text, weights)
            name = f"{architecture}@{path.name}"
            return [Spec(kind="torchvision", name=name, architecture=architecture, file=path)]
        named = weights if at else None
        return [Spec(kind="torchvision", name=text, architecture=architecture, weights=named)]
    if prefix == "hf":
        model_on_hub = find_hub_model(text)
        return [
            Spec(
                kind="hf",
                name=text,
                architecture=model_on_hub.architecture,
                weights=model_on_hub.name,
            )
        ]
    near = ", ".join(f"{name}:" for name in nearest(prefix, _PREFIXES) or _PREFIXES)
    raise UnknownNameError(f"unknown prefix {prefix + ':'!r} in {text!r}; nearest: {near}")


def _trained(name: str) -> Spec:
    architecture, recipe = parse_backbone(name)
    if (known := registered_name(recipe)) != recipe:  # one training, one name
        name, recipe = f"{architecture}_{known}", known
    tricks = find_recipe(recipe).trick_names
    return Spec(kind="trained", name=name, architecture=architecture, recipe=recipe, tricks=tricks)


def _all_trained() -> list[str]:
    return [f"{architecture}_{recipe}" for architecture in ARCHITECTURES for recipe in RECIPES]


def _expand(pattern: str, known: list[str]) -> list[str]:
    found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        close = nearest(re.sub(r"[*?]", "", pattern), known)
        hint = f"; nearest: {', '.join(close)}" if close else ""
        raise UnknownNameError(f"no backbone fits {pattern!r}{hint}")
    return found


def _looks_like_path(text: str) -> bool:
    return "/" in text or text.startswith((".", "~"))


def _weights_file(text: str, file: str) -> Path:
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        what = "a directory" if path.is_dir() else "no file"
        raise ValueError(
            f"{text!r}: {what} at {path}; expected a .safetensors, .pth, .pt or .bin file"
        )
    return path


def _artifact(text: str) -> Spec:
    directory = Path(text).expanduser().absolute()
    try:
        card = read_card(directory)
    except ArtifactError as error:
        if directory.exists() or not _HUB_LIKE.fullmatch(text):
            raise
        raise ArtifactError(f"{error}; a model of the Hugging Face hub is hf:{text}") from error
    tricks = tuple((card.recipe or {}).get("tricks", ()))
    name = text.rstrip("/")  # what follows a ~ joins on to it
    return Spec(
        kind="artifact", name=name, architecture=card.architecture, file=directory, tricks=tricks
    )
