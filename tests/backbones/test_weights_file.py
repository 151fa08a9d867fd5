from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from backbones.weights_file import (
    WeightsError,
    fit_state_dict,
    list_names,
    read_state_dict,
    read_weights_file,
)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), fc=nn.Linear(4, 2))
    )


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """conv.weight -> _m0.weight and so on, in the same order."""
    return {f"_m{i}.{k.rpartition('.')[2]}": t for i, (k, t) in enumerate(state.items())}


@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_reads_both_formats(tmp_path: Path, suffix: str) -> None:
    state = small_model().state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    read = read_state_dict(path)
    assert set(read) == set(state)
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_ema", "teacher"])
def test_unwraps_a_training_checkpoint(tmp_path: Path, key: str) -> None:
    state = small_model().state_dict()
    torch.save({"epoch": 3, key: state}, tmp_path / "checkpoint.pth")
    read = read_weights_file(tmp_path / "checkpoint.pth")
    assert (list(read.tensors), read.wrapper) == (list(state), key)


class Malicious:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("as_torch_file", [True, False])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, as_torch_file: bool) -> None:
    path, folder = tmp_path / "weights.pth", tmp_path / "pwned"
    payload = {"conv.weight": torch.zeros(1), "x": Malicious(folder)}
    if as_torch_file:
        torch.save(payload, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(folder)))
    with pytest.raises(WeightsError, match="could run code") as caught:
        read_state_dict(path)
    assert not folder.exists()
    assert "weights_only=False" not in str(caught.value), "torch's advice is not ours"


@pytest.mark.parametrize("name", ["junk.pth", "junk.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world", bytes(range(256)) * 8])
def test_junk_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    kind = "torch" if name.endswith(".pth") else "safetensors"
    said = rf"{name} .*no {kind} file.*\({len(content):,} bytes\)"
    with pytest.raises(WeightsError, match=said) as caught:
        read_state_dict(tmp_path / name)
    assert "run code" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(torch.zeros(3), "no state dict"), ({}, "no state dict"), ({"lr": 0.1}, "more than tensors")],
)
def test_other_contents_are_refused(tmp_path: Path, content: Any, said: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=said):
        read_state_dict(tmp_path / "x.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        read_state_dict(tmp_path / "nowhere.pth")


def test_by_name_in_any_order() -> None:
    wanted = small_model().state_dict()
    given = {name: torch.rand_like(t.float()) for name, t in reversed(wanted.items())}
    fitted, imported = fit_state_dict(given, wanted, source="x")
    assert imported.mapping == "by name"
    assert set(fitted) == set(wanted)
    assert all(fitted[name] is given[name] for name in wanted)


def test_by_position() -> None:
    wanted = small_model().state_dict()
    given = renamed(wanted)
    fitted, imported = fit_state_dict(given, wanted, source="x")
    assert imported.mapping == "by position"
    assert list(fitted) == list(wanted) or set(fitted) == set(wanted)
    for (name, tensor), original in zip(wanted.items(), given.values(), strict=True):
        if not name.endswith("num_batches_tracked"):
            assert fitted[name] is original
            assert fitted[name].shape == tensor.shape


@pytest.mark.parametrize("rename", [False, True])
def test_counters_may_be_missing(rename: bool) -> None:
    wanted = small_model().state_dict()
    given = {k: t for k, t in wanted.items() if not k.endswith("num_batches_tracked")}
    fitted, _ = fit_state_dict(renamed(given) if rename else given, wanted, source="x")
    assert set(fitted) == set(wanted)


def test_missing_and_unexpected_keys_are_listed() -> None:
    wanted = small_model().state_dict()
    given = dict(wanted)
    given["extra.weight"] = torch.zeros(1)
    del given["fc.bias"]
    with pytest.raises(WeightsError) as caught:
        fit_state_dict(given, wanted, source="my.pth")
    message = str(caught.value)
    assert "my.pth" in message
    assert "Missing keys (1): fc.bias." in message
    assert "Unexpected keys (1): extra.weight." in message


def test_another_shape_is_said() -> None:
    wanted = small_model().state_dict()
    given = {**wanted, "fc.weight": torch.zeros(7, 4)}
    with pytest.raises(WeightsError, match=r"fc.weight \(7, 4\) instead of \(2, 4\)"):
        fit_state_dict(given, wanted, source="x")


def test_position_is_not_trusted_against_the_kind_of_tensor() -> None:
    """Gamma and beta have one shape: a file that lists beta first must not load silently."""
    wanted = small_model().state_dict()
    names = list(wanted)
    i, j = names.index("bn.weight"), names.index("bn.bias")
    names[i], names[j] = names[j], names[i]
    with pytest.raises(WeightsError, match="by position"):
        fit_state_dict(renamed({name: wanted[name] for name in names}), wanted, source="x")


@pytest.mark.parametrize("kinds", [("beta", "gamma"), ("0", "1"), ("kernel", "weight")])
def test_position_is_not_trusted_where_the_names_do_not_say_the_kind(
    kinds: tuple[str, str],
) -> None:
    wanted = {"bn.weight": torch.ones(4), "bn.bias": torch.zeros(4)}
    given = dict(zip((f"n.{kind}" for kind in kinds), wanted.values(), strict=True))
    with pytest.raises(WeightsError, match=rf"file's n\.{kinds[0]} .* model's bn\.weight"):
        fit_state_dict(given, wanted, source="x")


@pytest.mark.parametrize(
    "prefix", ["module.", "backbone.", "encoder.", "_orig_mod.", "module.backbone._orig_mod."]
)
def test_what_wrappers_put_before_the_names_is_taken_off(prefix: str) -> None:
    wanted = small_model().state_dict()
    given = {prefix + name: tensor for name, tensor in wanted.items()}
    fitted, imported = fit_state_dict(given, wanted, source="x")
    assert set(fitted) == set(wanted)
    assert all(fitted[name] is given[prefix + name] for name in wanted)
    assert (imported.prefix, imported.left) == (prefix, ())
    assert prefix in str(imported)


def test_a_model_whose_own_names_begin_so_keeps_them() -> None:
    wanted = {"encoder.conv.weight": torch.zeros(2), "encoder.conv.bias": torch.zeros(2)}
    fitted, imported = fit_state_dict(dict(wanted), wanted, source="x")
    assert (set(fitted), imported.prefix) == (set(wanted), "")


@pytest.mark.parametrize("name", ["fc.weight", "head.bias", "classifier.1.weight"])
def test_only_a_classifier_may_be_left_out(name: str) -> None:
    """Of a network without one; what else the file has more is an error, not a warning."""
    wanted = {k: t for k, t in small_model().state_dict().items() if not k.startswith("fc.")}
    given = {f"backbone.{k}": t for k, t in wanted.items()} | {name: torch.zeros(9, 9)}
    fitted, imported = fit_state_dict(given, wanted, source="x")
    assert (set(fitted), imported.left) == (set(wanted), (name,))
    assert f"left out, a classifier: {name}" in str(imported)
    with pytest.raises(WeightsError, match=r"Unexpected keys \(1\): neck\.weight\."):
        fit_state_dict(given | {"neck.weight": torch.zeros(1)}, wanted, source="x")


def test_a_file_may_lack_a_classifier_that_is_not_needed_but_not_half_of_it() -> None:
    wanted = small_model().state_dict()
    given = {k: t for k, t in wanted.items() if not k.startswith("fc.")}
    fitted, imported = fit_state_dict(given, wanted, source="x", classifiers=["fc"])
    assert set(fitted) == set(given)
    assert imported.without_classifier
    with pytest.raises(WeightsError, match=r"Missing keys \(2\): fc\.weight, fc\.bias\."):
        fit_state_dict(given, wanted, source="x")
    half = given | {"fc.weight": wanted["fc.weight"]}
    with pytest.raises(WeightsError, match=r"Missing keys \(1\): fc\.bias\."):
        fit_state_dict(half, wanted, source="x", classifiers=["fc"])


def test_names_in_common_forbid_a_match_by_position() -> None:
    """One renamed tensor among known ones is a mistake to be told, not to be guessed around."""
    wanted = small_model().state_dict()
    given = {("fc2.bias" if name == "fc.bias" else name): t for name, t in wanted.items()}
    with pytest.raises(WeightsError, match=r"Missing keys \(1\): fc\.bias\..*: fc2\.bias"):
        fit_state_dict(given, wanted, source="x")


def test_long_lists_are_cut() -> None:
    assert list_names([]) == "none"
    assert list_names(["a", "b", "c"], limit=2) == "a, b and 1 more"
