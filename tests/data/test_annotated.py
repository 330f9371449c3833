"""Folders with COCO's and Pascal VOC's annotations, whole ones and broken ones."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from cnnlab import data
from cnnlab.data.opening import open_sources
from cnnlab.errors import DataError

SIZE = (30, 40)
# (class, (ymin, xmin, ymax, xmax) in pixels, crowd) of the images of each split.
OBJECTS = {
  "train": [
    [("cat", (2, 3, 12, 23), False), ("dog", (10, 20, 30, 40), True)],
    [],
    [("dog", (0, 0, 30, 40), False)],
    [("cat", (5, 5, 6, 6), False)],
  ],
  "val": [[("cat", (1, 2, 3, 4), False)] * 3, []],
}
CATEGORIES = {"cat": 17, "dog": 3}  # by id the dog comes first


def write_images(folder, count):
  folder.mkdir(parents=True)
  for i in range(count):
    noise = np.random.default_rng(i).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / f"{i}.png")


def write_coco(root):
  for split, images in OBJECTS.items():
    write_images(root / "images" / split, len(images))
    content = {
      "images": [
        {"id": 100 + i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]}
        for i in range(len(images))
      ],
      "categories": [{"id": number, "name": name} for name, number in CATEGORIES.items()],
      "annotations": [
        {
          "id": 10 * i + j,
          "image_id": 100 + i,
          "category_id": CATEGORIES[name],
          "bbox": [left, top, right - left, bottom - top],
          "iscrowd": int(crowd),
        }
        for i, objects in enumerate(images)
        for j, (name, (top, left, bottom, right), crowd) in enumerate(objects)
      ],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
  return root


def voc_object(name, edges, crowd):
  top, left, bottom, right = edges
  return (
    f"<object><name>{name}</name><difficult>{int(crowd)}</difficult><bndbox><xmin>{left + 1}</xmin>"
    f"<ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
  )


def write_voc(root):
  for name in ("Annotations", "ImageSets/Main"):
    (root / name).mkdir(parents=True)
  write_images(root / "JPEGImages", 6)
  for split, first in (("train", 0), ("val", 4)):
    names = range(first, first + len(OBJECTS[split]))
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{i}\n" for i in names))
    for i, objects in zip(names, OBJECTS[split], strict=True):
      size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
      body = size + "".join(voc_object(*one) for one in objects)
      (root / "Annotations" / f"{i}.xml").write_text(f"<annotation>{body}</annotation>")
  (root / "classes.txt").write_text("dog\ncat\n")
  return root


KINDS = {"coco": write_coco, "voc": write_voc}


@pytest.fixture(params=KINDS)
def kind(request):
  return request.param


@pytest.fixture
def root(kind, tmp_path):
  return KINDS[kind](tmp_path / "set")


def load(kind, root, section, **overrides):
  settings = section(name=f"{kind}:{root}", **overrides)
  return data.load(settings, seed=0, batch_size=2, eval_batch_size=2)


def test_objects_are_read_padded_and_stay_with_their_images(kind, root, section):
  found = load(kind, root, section)
  assert found.image_shape == (*SIZE, 3)
  assert {name: f.kind for name, f in found.features.items()} == {
    "image": "image", "boxes": "boxes", "box_labels": "vector", "box_crowd": "vector",
  }  # fmt: skip
  assert found.features["box_labels"].names == ("dog", "cat")
  for split, name in ((found.train, "train"), (found.eval, "val")):
    arrays = split.constants
    for i, objects in enumerate(OBJECTS[name]):
      noise = np.random.default_rng(i + 4 * (kind == "voc" and name == "val"))
      np.testing.assert_array_equal(
        arrays["image"][i], noise.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
      )
      padding = 3 - len(objects)  # three in one of the images of val
      expected = np.array([edges for _, edges, _ in objects], np.float32).reshape(-1, 4)
      np.testing.assert_array_equal(arrays["boxes"][i], np.pad(expected, ((0, padding), (0, 0))))
      assert arrays["boxes_valid"][i].tolist() == [True] * len(objects) + [False] * padding
      labels = [int(name == "cat") for name, _, _ in objects]
      assert arrays["box_labels"][i].tolist() == labels + [0] * padding
      crowds = [crowd for _, _, crowd in objects]
      assert arrays["box_crowd"][i].tolist() == crowds + [False] * padding


def test_boxes_are_fitted_as_their_images_are(kind, root, section):
  """The middle square of 30x30 is shown at 15x15: its left edge is at x = 5."""
  boxes = load(kind, root, section, image_size=15).train.constants["boxes"]
  np.testing.assert_allclose(boxes[0, :2], [[1, 0, 6, 9], [5, 7.5, 15, 15]])


def test_workers_get_the_same(kind, root, section):
  train = open_sources(section(name=f"{kind}:{root}")).train
  again = pickle.loads(pickle.dumps(train))
  assert again.fingerprint() == train.fingerprint()
  np.testing.assert_array_equal(
    again.read([0], (30, 30), 3)[0]["boxes"], train.read([0], (30, 30), 3)[0]["boxes"]
  )


def test_sets_without_crowds_do_not_have_the_feature(kind, root, section):
  for path in [*root.rglob("*.json"), *root.rglob("*.xml")]:
    text = path.read_text().replace('"iscrowd": 1', '"iscrowd": 0')
    path.write_text(text.replace("<difficult>1", "<difficult>0"))
  assert "box_crowd" not in load(kind, root, section).features


def test_one_split_is_divided(kind, root, section):
  if kind == "coco":
    (root / "annotations" / "train.json").rename(root / "annotations.json")
    for image in (root / "images" / "train").iterdir():
      image.rename(root / "images" / image.name)
  else:
    (root / "ImageSets").rename(root / "lists")
  found = load(kind, root, section, eval_fraction=0.5)
  half = 2 if kind == "coco" else 3
  assert (found.train.num_examples, found.eval.num_examples) == (half, half)


def test_coco_s_own_layout_is_read(tmp_path, section):
  root = write_coco(tmp_path / "set")
  for split in ("train", "val"):
    (root / "annotations" / f"{split}.json").rename(
      root / "annotations" / f"instances_{split}2017.json"
    )
    (root / "images" / split).rename(root / f"{split}2017")
  found = load("coco", root, section, train_split="train2017", eval_split="val2017")
  assert (found.train.num_examples, found.eval.num_examples) == (4, 2)
  with pytest.raises(DataError, match="unknown split 'train'; did you mean 'train2017'"):
    load("coco", root, section)


def test_without_a_list_of_classes_those_of_the_training_images_count(tmp_path, section):
  root = write_voc(tmp_path / "set")
  (root / "classes.txt").unlink()
  assert load("voc", root, section).features["box_labels"].names == ("cat", "dog")
  text = (root / "Annotations" / "4.xml").read_text()
  (root / "Annotations" / "4.xml").write_text(text.replace("<name>cat", "<name>cats", 1))
  with pytest.raises(
    DataError, match=r"4\.xml: object 1: unknown class 'cats'; did you mean 'cat'"
  ):
    load("voc", root, section)


def put(root, kind, edges):
  """Gives the first object of the first training image another box."""
  top, left, bottom, right = edges
  if kind == "coco":
    path = root / "annotations" / "train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [left, top, right - left, bottom - top]
    path.write_text(json.dumps(content))
  else:
    path = root / "Annotations" / "0.xml"
    text = path.read_text()
    path.write_text(text.replace(voc_object(*OBJECTS["train"][0][0]), voc_object("cat", edges, 0)))


@pytest.mark.parametrize(
  ("edges", "message"),
  [
    ((2, 3, 2, 23), r"from \(x, y\) = \(3, 2\) to \(23, 2\) has no area"),
    ((2, 23, 12, 3), "is inverted"),
    ((2, 40, 12, 50), r"lies outside of the image of 30x40"),
    ((-9, 3, 0, 23), "lies outside"),
  ],
)
def test_boxes_that_cannot_be_are_told_of_and_their_images_may_be_skipped(
  kind, root, section, edges, message
):
  put(root, kind, edges)
  file = "train.json, image 0.png" if kind == "coco" else "0.xml"
  with pytest.raises(DataError, match=rf"{file}: object 1 \('cat'\) its box .*{message}"):
    load(kind, root, section)
  found = load(kind, root, section, max_bad_images=1)
  assert found.train.num_examples == 3


def test_boxes_that_are_partly_outside_are_clipped(kind, root, section):
  put(root, kind, (-5, 30, 12, 55))
  boxes = load(kind, root, section).train.constants["boxes"]
  assert boxes[0, 0].tolist() == [0, 30, 12, 40]


def edited_json(change):
  def edit(root):
    path = root / "annotations" / "val.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

  return edit


@pytest.mark.parametrize(
  ("edit", "message"),
  [
    (lambda r: (r / "annotations/val.json").write_text("{"), r"cannot read .*val\.json as JSON"),
    (lambda r: (r / "annotations/val.json").write_text("[]"), r"val\.json has no list 'images'"),
    (
      lambda r: (r / "images/val/0.png").unlink(),
      r"val\.json, image 0\.png: the image .* not exist",
    ),
    (
      edited_json(lambda c: c["annotations"][0].update(category_id=4)),
      r"val\.json: annotation 0: unknown category_id '4'\. Allowed: 17, 3",
    ),
    (
      edited_json(lambda c: c["annotations"][0].update(image_id=5)),
      r"annotation 0 is of the image 5, which is not among its images",
    ),
    (edited_json(lambda c: c["annotations"][0].pop("bbox")), r"annotation 0 has the bbox \(\)"),
    (edited_json(lambda c: c["annotations"][0].update(bbox=[1, 2, "3", 4])), "has the bbox"),
    (edited_json(lambda c: c["images"][1].update(id=100)), r"'1\.png' \(100\) is there twice"),
    (edited_json(lambda c: c["images"][1].update(file_name="0.png")), "same file_name"),
    (edited_json(lambda c: c["images"][0].pop("file_name")), "'file_name' of image 100 is None"),
    (edited_json(lambda c: c["categories"].pop()), "categories of val are|unknown category_id"),
    (
      edited_json(lambda c: c["categories"][0].update(name="lynx")),
      r"categories of val are dog, lynx, and those of the training split dog, cat",
    ),
    (edited_json(lambda c: c["images"][0].update(height=40, width=30)), "has 40x30 pixels there"),
    (edited_json(lambda c: c["annotations"][0].update(bbox=[1, float("nan"), 3, 4])), "not finite"),
  ],
)
def test_broken_coco_files_are_named(tmp_path, section, edit, message):
  edit(write_coco(tmp_path / "set"))
  with pytest.raises(DataError, match=message):
    load("coco", tmp_path / "set", section)


def replaced(old, new):
  def edit(root):
    path = root / "Annotations" / "0.xml"
    path.write_text(path.read_text().replace(old, new, 1))

  return edit


@pytest.mark.parametrize(
  ("edit", "message"),
  [
    (replaced("</annotation>", ""), r"cannot read .*0\.xml as XML"),
    (replaced("<name>cat", "<name>cut"), r"0\.xml: object 1: unknown class 'cut'; did you mean"),
    (replaced("<name>cat</name>", ""), r"0\.xml: object 1 has no name"),
    (replaced("<xmin>4</xmin>", ""), r"0\.xml: object 1 \('cat'\) has the bndbox .*four numbers"),
    (replaced("<width>40", "<width>41"), r"0\.xml: the image has 30x41 pixels there"),
    (lambda r: (r / "Annotations/0.xml").unlink(), r"0\.xml is missing; an image without objects"),
    (lambda r: (r / "JPEGImages/0.png").unlink(), r"JPEGImages has no image of the name '0'"),
    (lambda r: (r / "ImageSets/Main/train.txt").write_text("0\n0\n"), "line 2 names '0' again"),
    (lambda r: (r / "ImageSets/Main/train.txt").write_text(""), "has no annotated image"),
    (lambda r: (r / "JPEGImages").rename(r / "images"), "has no folder 'JPEGImages'"),
  ],
)
def test_broken_voc_files_are_named(tmp_path, section, edit, message):
  edit(write_voc(tmp_path / "set"))
  with pytest.raises(DataError, match=message):
    load("voc", tmp_path / "set", section)


def test_sizes_of_zero_mean_that_the_size_is_not_known(tmp_path, section):
  root = write_voc(tmp_path / "set")
  replaced("<width>40", "<width>0")(root)
  assert load("voc", root, section).train.num_examples == 4
