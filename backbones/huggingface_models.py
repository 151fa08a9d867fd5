"""Models of the Hugging Face hub that timm can build: `hf:<org>/<name>[@revision]`.

What a name means is read from the model's own config.json (some kilobytes), so that its
architecture, and with it its control, is known before anything is planned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbones.catalog import UnknownNameError, check_architecture
from backbones.hub import HubError, commit_of, hub_file, license_of

if TYPE_CHECKING:
    from pathlib import Path

    from backbones.timm_models import TimmBackbone
    from backbones.weights_file import ImportedWeights

PREFIX = "hf:"

_NAME = re.compile(r"(?P<repo>[\w\-][\w.\-]*/[\w\-][\w.\-]*)(@(?P<revision>[\w\-][\w.\-/]*))?")
# As `transformers` and timm name them; the safe format first.
WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
# Arguments of timm's models that change neither the network nor its weights.
_HARMLESS = frozenset({"num_classes", "global_pool", "drop_rate", "drop_path_rate"})


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """One commit of a model. architecture: `timm:<model>`; config: timm's pretrained_cfg, with
    preprocessing and number of classes."""

    repo: str
    commit: str
    architecture: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.repo}@{self.commit}"


def split_hub_name(name: str) -> tuple[str, str | None]:
    """`hf:org/name@v1` -> ("org/name", "v1"). Raises UnknownNameError for another form."""
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if match is None or ".." in name:
        raise UnknownNameError(
            f"{name!r} does not name a model of the Hugging Face hub: expected "
            f"hf:<organization>/<name>, or hf:<organization>/<name>@<branch, tag or commit>, for "
            f"example hf:timm/resnet18.a1_in1k"
        )
    return match["repo"], match["revision"]


def find_hub_model(name: str) -> HubModel:
    """What `hf:<org>/<name>[@revision]` is, by its config.json; torch is not imported.

    Raises UnknownNameError for another form of name, HubError where the file cannot be had or is
    not that of a timm model.
    """
    repo, revision = split_hub_name(name)
    path = hub_file(repo, "config.json", revision)
    if path is None:
        raise HubError(f"hf:{repo} has no config.json: {_SUPPORTED}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{path} is not JSON ({error}): delete it and ask again") from error
    if not isinstance(content, dict):
        raise HubError(f"{path} holds no JSON object: {_SUPPORTED}")
    config = content.get("pretrained_cfg", content)
    architecture = content.get("architecture")
    if not isinstance(architecture, str) or not isinstance(config, dict):
        raise HubError(f"hf:{repo} is {_kind(content)}: {_SUPPORTED}")
    try:
        check_architecture(f"timm:{architecture}")
    except UnknownNameError as error:
        raise HubError(f"{path} names no timm architecture but {architecture!r}") from error
    _check_arguments(repo, content.get("model_args") or {})
    classes = content.get("num_classes", config.get("num_classes"))
    known = {key: value for key, value in config.items() if key != "architecture"}
    return HubModel(
        repo=repo,
        commit=commit_of(path),
        architecture=f"timm:{architecture}",
        config={**known, **({} if classes is None else {"num_classes": classes})},
    )


def import_hub_model(model: HubModel) -> tuple[TimmBackbone, ImportedWeights, Path, str | None]:
    """The backbone with the model's weights and preprocessing, what was read, its file and licence.

    Raises HubError where there are no weights, WeightsError where they do not fit strictly.
    """
    from backbones.timm_models import import_timm

    found = (hub_file(model.repo, name, model.commit) for name in WEIGHTS_NAMES)
    file = next((path for path in found if path is not None), None)
    if file is None:
        raise HubError(f"{model.name} has neither {' nor '.join(WEIGHTS_NAMES)}: {_SUPPORTED}")
    try:
        backbone, imported = import_timm(
            model.architecture.removeprefix("timm:"), file, config=model.config
        )
    # What stands in a config.json is for its author to say.
    except (AttributeError, LookupError, TypeError) as error:
        raise HubError(
            f"the config.json of {model.name} is not one that timm understands: {error!r}"
        ) from error
    return backbone, imported, file, imported.published.get("license") or _license(model)


def _license(model: HubModel) -> str | None:
    try:
        return license_of(hub_file(model.repo, "README.md", model.commit))
    except HubError:  # weights without their README.md are weights
        return None


def _check_arguments(repo: str, arguments: Any) -> None:
    if not isinstance(arguments, dict):
        raise HubError(f"hf:{repo}: model_args in config.json is no JSON object")
    others = {
        key: value
        for key, value in arguments.items()
        if key not in _HARMLESS and (key, value) != ("in_chans", 3)
    }
    if others:
        raise HubError(
            f"hf:{repo} is another network than timm's of that name: its config.json gives "
            f"model_args {others}, which cannot be given here"
        )


def _kind(content: Mapping[str, Any]) -> str:
    kind = content.get("model_type")
    return f"a model of transformers ({kind})" if isinstance(kind, str) else "no timm model"


_SUPPORTED = (
    "supported are models whose config.json names a timm architecture, with model.safetensors or "
    "pytorch_model.bin. timm has most published networks: hf:timm/<name>, or timm:<model>"
)
