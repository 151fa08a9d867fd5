"""The tiny benchmark of conftest.py, written down as COCO and Cityscapes are."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

IDS = {"blue": 3, "green": 17, "red": 90}
"""Of categories: with gaps, as COCO's."""
LABELS = {1: 7, 2: 26, 3: 33}
"""ADE20K's index -> label id of Cityscapes, for blue, green and red."""
NAMES = ("road", "car", "bicycle")


def write_coco(folder: Path) -> Path:
    """`folder`/VOCdevkit as `folder`/coco: train2017 and val2017, the difficult ones as crowds."""
    year, root = folder / "VOCdevkit/VOC2007", folder / "coco"
    (root / "annotations").mkdir(parents=True)
    for voc, split in (("trainval", "train2017"), ("test", "val2017")):
        (root / split).mkdir()
        images, objects = [], []
        for number, name in enumerate((year / f"ImageSets/Main/{voc}.txt").read_text().split()):
            image_id = 1000 - 7 * number
            tree = ET.parse(year / f"Annotations/{name}.xml")
            width, height = (int(tree.findtext(f"size/{s}", "")) for s in ("width", "height"))
            shutil.copy(year / f"JPEGImages/{name}.jpg", root / split / f"{image_id:012}.jpg")
            images.append(
                {
                    "id": image_id,
                    "file_name": f"{image_id:012}.jpg",
                    "width": width,
                    "height": height,
                }
            )
            for node in tree.iter("object"):
                corners = ("xmin", "ymin", "xmax", "ymax")
                x1, y1, x2, y2 = (int(node.findtext(f"bndbox/{c}", "")) for c in corners)
                w, h = x2 - x1 + 0.75, y2 - y1 + 0.5
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": image_id,
                        "category_id": IDS[node.findtext("name", "")],
                        "bbox": [x1 - 1, y1 - 1, w, h],
                        "area": w * h / 2,
                        "iscrowd": int(node.findtext("difficult", "0")),
                        "segmentation": [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]],
                    }
                )
        content = {
            "info": {},
            "images": images,
            "annotations": objects,
            "categories": [{"id": n, "name": name} for name, n in IDS.items()],
        }
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


def write_cityscapes(folder: Path) -> Path:
    """`folder`/ADEChallengeData2016 as `folder`/cityscapes; train ids beside the label ids."""
    import cv2
    import numpy as np

    ade, root = folder / "ADEChallengeData2016", folder / "cityscapes"
    cities = {"training": ("train", ["ulm", "aachen"]), "validation": ("val", ["lindau"])}
    ids, scored = np.zeros(256, np.uint8), np.full(256, 255, np.uint8)
    for place, (index, label) in enumerate(LABELS.items()):
        ids[index], scored[index] = label, place
    for part, (split, names) in cities.items():
        for number, file in enumerate(sorted((ade / "images" / part).iterdir())):
            city = names[number % len(names)]
            image, mask = (root / kind / split / city for kind in ("leftImg8bit", "gtFine"))
            image.mkdir(parents=True, exist_ok=True)
            mask.mkdir(parents=True, exist_ok=True)
            stem = f"{city}_{number:06}_000019"
            cv2.imwrite(str(image / f"{stem}_leftImg8bit.png"), cv2.imread(str(file)))
            indices = cv2.imread(str(ade / f"annotations/{part}/{file.stem}.png"), -1)
            for suffix, table in (("labelIds", ids), ("labelTrainIds", scored)):
                cv2.imwrite(str(mask / f"{stem}_gtFine_{suffix}.png"), table[indices])
    return root


def as_coco_and_cityscapes(toml: Path) -> Path:
    """The file of `make_benchmark` with its detection and segmentation in these layouts."""
    write_coco(toml.parent)
    write_cityscapes(toml.parent)
    text = toml.read_text()
    for old, new in (
        ('root = "VOCdevkit"', 'root = "coco"\nlayout = "coco"\nmetric = "coco"'),
        ('["VOC2007/trainval"]', '["train2017"]'),
        ('"VOC2007/test"', '"val2017"'),
        ('root = "ADEChallengeData2016"', 'root = "cityscapes"\nlayout = "cityscapes"'),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    head, table, tail = text.partition("[segmentation]")
    file = toml.with_name("other_squares.toml")
    file.write_text(head + table + tail.replace(json.dumps(list(IDS)), json.dumps(NAMES)))
    return file
