"""One example for every trick, as documentation and benches use them."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from classification.recipe import Recipe
from classification.tricks import TRICKS
from classification.tricks.examples import EXAMPLE_KNOBS, EXAMPLES, usage


def test_there_is_one_for_every_trick() -> None:
    assert set(EXAMPLES) == set(TRICKS)
    assert set(EXAMPLE_KNOBS) <= set(TRICKS)
    assert all(type(EXAMPLES[name]) is trick for name, trick in TRICKS.items())


@pytest.mark.parametrize("name", list(TRICKS))
def test_each_may_stand_alone_in_a_recipe_and_is_written_as_it_is(name: str) -> None:
    assert (Recipe() | EXAMPLES[name]).trick_names == (name,)
    written = eval(usage(name), {TRICKS[name].__name__: TRICKS[name]})
    for knob, value in EXAMPLES[name].to_dict().items():
        found = getattr(written, knob)
        same = math.isclose(found, value, rel_tol=1e-3) if isinstance(value, float) else None
        assert found == value or same, f"{usage(name)} has another {knob}"


def test_examples_come_without_torch_and_numpy() -> None:
    code = (
        "import sys, classification.tricks.examples;"
        "print([m for m in ('torch', 'numpy', 'cv2', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
