"""What is drawn and what is said about it agree, pixel by pixel."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.mini_world.boxes import scene_boxes
from benchmarks.mini_world.kinds import CLASSES
from benchmarks.mini_world.looks import clutter_look
from benchmarks.mini_world.patches import Light, draw_patch
from benchmarks.mini_world.scenes import Scene, SceneObject, render_scene
from benchmarks.mini_world.writers import image_rng
from benchmarks.world_spec import Difficulty, WorldSpec


@pytest.fixture
def calm(world_spec: WorldSpec) -> Difficulty:
    """No clutter, no jitter, no exposure, no noise: the palette's own colors."""
    return world_spec.difficulty.model_copy(
        update={
            "hue_jitter": 0.0,
            "color_jitter": 0.0,
            "clutter": (0.0, 0.0),
            "occlusion": 0.0,
            "light": (0.0, 0.0),
            "exposure": (0.0, 0.0),
            "texture_contrast": (1.0, 1.0),
            "blur": (0.0, 0.0),
            "noise": (0.0, 0.0),
        }
    )


@pytest.fixture(scope="module")
def scenes(world_spec: WorldSpec) -> list[Scene]:
    return [
        render_scene(world_spec.detection, world_spec.difficulty, np.random.default_rng([3, index]))
        for index in range(40)
    ]


def test_xml_boxes_are_the_extent_of_the_visible_pixels(world: Path, world_spec: WorldSpec) -> None:
    """The same scene drawn again gives the id mask; OpenCV gives its bounding rectangles."""
    seen = 0
    for index in range(world_spec.detection.train):
        rng = image_rng(world_spec, "detection", 0, index)
        scene = render_scene(world_spec.detection, world_spec.difficulty, rng)
        path = world / "VOCdevkit/VOC2007/Annotations" / f"0{index:05d}.xml"
        written = {
            (
                node.findtext("name"),
                *(int(node.findtext(f"bndbox/{k}", "0")) for k in ("xmin", "ymin", "xmax", "ymax")),
            )
            for node in ET.parse(path).getroot().findall("object")
        }
        expected = set()
        for number, item in enumerate(scene.objects, start=1):
            mask = (scene.ids == number).astype(np.uint8)
            if cv2.countNonZero(mask) >= 16:
                x, y, width, height = cv2.boundingRect(mask)
                expected.add((CLASSES[item.label], x + 1, y + 1, x + width, y + height))
        assert written == expected
        seen += len(written)
    assert seen > 15


def test_masks_hold_the_classes_of_the_visible_objects(world: Path, world_spec: WorldSpec) -> None:
    folder = world / "ADEChallengeData2016/annotations/training"
    for index in range(world_spec.segmentation.train):
        rng = image_rng(world_spec, "segmentation", 0, index)
        scene = render_scene(world_spec.segmentation, world_spec.difficulty, rng)
        mask = cv2.imread(str(folder / f"mini_train_{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        expected = np.zeros_like(mask)
        for number, item in enumerate(scene.objects, start=1):
            expected[scene.ids == number] = 1 + item.label
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("name", "channels"), [("melon", (1, 2)), ("cheese", (0, 2)), ("log_slice", (0, 2))]
)
def test_the_pixels_under_a_mask_have_the_classs_colors(
    world_spec: WorldSpec, calm: Difficulty, name: str, channels: tuple[int, int]
) -> None:
    """Melons are more green than blue, cheese and logs more red than blue: nearly everywhere."""
    more, less = channels
    for index in range(8):
        scene = render_scene(
            world_spec.pretraining,
            calm,
            np.random.default_rng([4, index]),
            label=CLASSES.index(name),
        )
        inside = cv2.erode((scene.ids == 1).astype(np.uint8), np.ones((3, 3))) == 1
        pixels = scene.image[inside].astype(int)
        # Highlights are white: there all channels are nearly the same.
        assert np.mean(pixels[:, more] >= pixels[:, less] - 10) > 0.97


def test_the_mask_is_where_the_object_changes_the_picture(
    world_spec: WorldSpec, calm: Difficulty
) -> None:
    """A chess tile's black and white against its background: contrast falls outside the mask."""
    inside, outside = [], []
    for index in range(8):
        scene = render_scene(
            world_spec.pretraining,
            calm,
            np.random.default_rng([5, index]),
            label=CLASSES.index("chess_tile"),
        )
        gray = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        contrast = np.abs(gray - cv2.blur(gray, (15, 15)))
        mask = (scene.ids == 1).astype(np.uint8)
        inside.append(contrast[cv2.erode(mask, np.ones((5, 5))) == 1].mean())
        outside.append(contrast[cv2.dilate(mask, np.ones((15, 15))) == 0].mean())
    assert min(inside) > 2 * max(outside)


def test_a_classification_image_shows_its_class(world_spec: WorldSpec) -> None:
    for index in range(20):
        label = index % len(CLASSES)
        rng = image_rng(world_spec, "pretraining", 0, index)
        scene = render_scene(world_spec.pretraining, world_spec.difficulty, rng, label=label)
        assert [item.label for item in scene.objects] == [label]
        assert np.count_nonzero(scene.ids == 1) > 60


def test_scenes_have_as_many_and_as_large_objects_as_asked(
    world_spec: WorldSpec, scenes: list[Scene]
) -> None:
    counts = world_spec.detection
    numbers = [len(scene.objects) for scene in scenes]
    assert max(numbers) <= counts.objects[1]
    assert np.mean(numbers) > 2
    assert {item.label for scene in scenes for item in scene.objects} == set(range(10))
    for scene in scenes:
        assert scene.image.shape == (counts.image_size, counts.image_size, 3)
        assert scene.image.dtype == np.uint8
        for box in scene_boxes(scene):
            # A square's diagonal is the longest extent that a turned object has.
            assert max(box.x2 - box.x1, box.y2 - box.y1) <= 1.45 * counts.object_size[1]


def test_no_object_is_hidden_entirely_by_another(scenes: list[Scene]) -> None:
    boxes = [len(scene_boxes(scene)) for scene in scenes]
    objects = [len(scene.objects) for scene in scenes]
    assert sum(boxes) >= 0.95 * sum(objects)


def hand_made(ids: np.ndarray, *objects: SceneObject) -> Scene:
    return Scene(image=np.zeros((*ids.shape, 3), np.uint8), ids=ids, objects=objects)


def test_flags_of_a_scene_made_by_hand() -> None:
    ids = np.zeros((60, 60), np.int32)
    ids[0:20, 0:10] = 1  # 200 visible of 200 inside of 400: cut by the edge, half is there
    ids[30:50, 30:50] = 2  # 400 of 400 of 400: all of it
    ids[30:40, 0:20] = 3  # 200 of 400 of 400: half is hidden
    ids[55:60, 0:10] = 4  # 50 of 50 of 50: whole and too small to be easy
    ids[55:60, 20:59] = 5  # 195 of 600 of 600: two thirds are hidden
    ids[0:3, 50:55] = 6  # 15 visible pixels: nobody would see it
    scene = hand_made(
        ids,
        SceneObject(label=0, area=400, inside=200),
        SceneObject(label=1, area=400, inside=400),
        SceneObject(label=2, area=400, inside=400),
        SceneObject(label=3, area=50, inside=50),
        SceneObject(label=4, area=600, inside=600),
        SceneObject(label=5, area=400, inside=400),
    )
    found = {
        box.label: (
            (box.x1, box.y1, box.x2, box.y2),
            (box.difficult, box.occluded, box.truncated),
        )
        for box in scene_boxes(scene)
    }
    assert found == {
        0: ((1, 1, 10, 20), (False, False, True)),
        1: ((31, 31, 50, 50), (False, False, False)),
        2: ((1, 31, 20, 40), (False, True, False)),
        3: ((1, 56, 10, 60), (True, False, False)),
        4: ((21, 56, 59, 60), (True, True, False)),
    }


def test_difficult_objects_are_there_and_rare(scenes: list[Scene]) -> None:
    boxes = [box for scene in scenes for box in scene_boxes(scene)]
    assert 0.01 < np.mean([box.difficult for box in boxes]) < 0.25
    assert 0.1 < np.mean([box.occluded for box in boxes]) < 0.7
    assert 0.02 < np.mean([box.truncated for box in boxes]) < 0.5


@pytest.mark.parametrize("size", [8, 20, 66])
def test_things_are_drawn_in_float32_between_0_and_1(world_spec: WorldSpec, size: int) -> None:
    light = Light(x=0.5, y=0.5, z=0.7, strength=0.8)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        patch = draw_patch(clutter_look(world_spec.difficulty, rng), size, light, rng)
        for plane in (patch.color, patch.coverage):
            assert plane.dtype == np.float32
            assert 0 <= plane.min() <= plane.max() <= 1
        assert patch.coverage.max() > 0.5
        assert patch.color.shape[1:] == patch.coverage.shape
