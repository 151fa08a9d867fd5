"""The card of an artifact: everything that is known of its weights, as `card.json` holds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    with_config,
)
from typing_extensions import TypedDict

from backbones.atomic import sha256_file
from backbones.checksum import DamagedFile, read_checked_json
from backbones.features import FeatureSpec
from backbones.preprocessing import Preprocessing

CARD_NAME = "card.json"
WEIGHTS_NAME = "model.safetensors"
README_NAME = "README.md"


class ArtifactError(ValueError):
    """An artifact that is missing, damaged or does not fit its architecture."""


@with_config(ConfigDict(extra="forbid"))
class Arguments(TypedDict):
    """Arguments of `create_backbone` beside the name; output_stride is chosen when loading."""

    width: float


@with_config(ConfigDict(extra="forbid"))
class Metrics(TypedDict):
    """Accuracy on the validation images of the data set; top1 and top5 in percent, n images."""

    top1: float
    top5: float
    n: int


@with_config(ConfigDict(extra="forbid"))
class Dataset(TypedDict):
    """What the weights were trained on; digest: of the files, where known. shrink_to: the shorter
    side of the copies that were trained on, in pixels, where they were not the images. train_size:
    side of the training images, eval_size and resize_size: of the central square that accuracy was
    measured on, and of the shorter side before it; in pixels, where known."""

    name: str
    digest: NotRequired[str | None]
    shrink_to: NotRequired[int]
    train_size: NotRequired[int]
    eval_size: NotRequired[int]
    resize_size: NotRequired[int]


class Card(BaseModel):
    """One artifact. In JSON `schema_version` is called `schema`.

    weights: "trained" by us, "random" from `seed`, or "imported" from a file of others (then
    seed is None). recipe: every trick and knob. sha256: of model.safetensors; None only before
    it is saved. cost: seconds, parameters, gmacs. classes: their names, in the classifier's order,
    where known. notes: what else a reader should know.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True
    )

    schema_version: Literal[1] = Field(default=1, alias="schema")
    architecture: str
    arguments: Arguments
    weights: Literal["trained", "random", "imported"]
    recipe: dict[str, Any] | None = None
    preprocessing: Preprocessing
    features: FeatureSpec
    metrics: Metrics | None = None
    dataset: Dataset | None = None
    seed: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    git_revision: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    cost: dict[str, int | float] | None = None
    classes: tuple[str, ...] | None = None
    notes: dict[str, Any] = Field(default_factory=dict)

    @field_serializer("preprocessing")
    def _preprocessing(self, preprocessing: Preprocessing) -> dict[str, Any]:
        return preprocessing.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """As `card.json` holds it."""
        return self.model_dump(mode="json")


def check_weights(directory: str | os.PathLike[str], card: Card) -> None:
    """Raises ArtifactError where the weights are missing, or not those that the card is of."""
    path = Path(directory) / WEIGHTS_NAME
    remedy = (
        f"delete {os.fspath(directory)} and make it again (the same `trickle run` does that for "
        "its own), or copy all of it once more"
    )
    try:
        found = sha256_file(path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if found != card.sha256:
        raise ArtifactError(
            f"{path} is damaged or was replaced: its sha256 is {found}, the card says "
            f"{card.sha256}: {remedy}"
        )


def read_card(directory: str | os.PathLike[str]) -> Card:
    """The card of the artifact in `directory`, without loading weights (and without torch).

    Raises ArtifactError where there is no artifact, or its card is not one that this version
    reads.
    """
    path = Path(directory) / CARD_NAME
    try:
        content = read_checked_json(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(
            f"no artifact in {os.fspath(directory)!r}: expected a directory with {CARD_NAME} and "
            f"{WEIGHTS_NAME}, as pretraining or `python -m backbones.obtain` writes it"
        ) from error
    except DamagedFile as error:
        raise ArtifactError(f"{path} is not a card: {error}") from error
    try:
        card = Card.model_validate(content)
    except ValidationError as error:
        raise ArtifactError(f"{path} is not a card that this version reads: {error}") from error
    if card.sha256 is None:
        raise ArtifactError(f"{path} lacks the sha256 of {WEIGHTS_NAME}")
    return card
