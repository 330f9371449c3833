import io
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from cnnlab import data
from cnnlab.data import tfds as tfds_sets
from cnnlab.errors import DataError


def png(pixels):
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, "PNG")
  return buffer.getvalue()


def pixels_of(split, index):
  seed = [ord(split[0]), index]
  return np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """A data_dir with `tiny` (train 20, test 8), `lone` (train only) and `blind` (no labels)."""
  tfds = pytest.importorskip("tensorflow_datasets")
  place = tmp_path_factory.mktemp("prepared")

  def builder(set_name, sizes, labelled):
    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
      name = set_name
      VERSION = tfds.core.Version("1.0.0")
      url_infos = {}  # nothing to download, so no checksums beside the code to look for

      def _info(self):
        features = {"image": tfds.features.Image(shape=(6, 5, 3), encoding_format="png")}
        if labelled:
          features["label"] = tfds.features.ClassLabel(names=["no", "yes"])
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

      def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, n) for split, n in sizes.items()}

      def _generate_examples(self, split, count):
        for i in range(count):
          example = {"image": png(pixels_of(split, i))}
          yield i, ({**example, "label": i % 2} if labelled else example)

    return Tiny(data_dir=place, file_format="array_record")

  builder("tiny", {"train": 20, "test": 8}, True).download_and_prepare()
  builder("lone", {"train": 10}, True).download_and_prepare()
  builder("blind", {"train": 4, "test": 2}, False).download_and_prepare()
  return place


def images_of(split):
  return {image.tobytes() for image in split.constants["image"]}


def test_usual_splits_and_their_pixels(prepared, section):
  found = data.load(
    section(name="tfds:tiny", dir=str(prepared)), seed=0, batch_size=4, eval_batch_size=3
  )
  assert (found.train.num_examples, found.eval.num_examples) == (20, 8)
  assert found.class_names == ("no", "yes")
  assert found.image_shape == (6, 5, 3)
  assert images_of(found.train) == {pixels_of("train", i).tobytes() for i in range(20)}
  assert images_of(found.eval) == {pixels_of("test", i).tobytes() for i in range(8)}
  for image, label in zip(*found.eval.constants.values(), strict=True):
    assert image.tobytes() in {pixels_of("test", i).tobytes() for i in range(label, 8, 2)}


def test_slices_of_a_split_and_a_version(prepared, section):
  config = section(
    name="tfds:tiny:1.0.0",
    dir=str(prepared),
    train_split="train[:60%]",
    eval_split="train[60%:]",
  )
  found = data.load(config, seed=0, batch_size=4, eval_batch_size=3)
  assert (found.train.num_examples, found.eval.num_examples) == (12, 8)
  assert not images_of(found.train) & images_of(found.eval)


def test_a_set_with_one_split_holds_some_out(prepared, section):
  config = section(name="tfds:lone", dir=str(prepared), eval_fraction=0.4)
  found = data.load(config, seed=0, batch_size=2, eval_batch_size=3)
  assert np.bincount(found.eval.constants["label"]).tolist() == [2, 2]
  assert found.train.num_examples == 6


def test_subset_is_balanced(prepared, section):
  config = section(name="tfds:tiny", dir=str(prepared), train_examples=6, eval_examples=4)
  found = data.load(config, seed=0, batch_size=2, eval_batch_size=3)
  assert np.bincount(found.train.constants["label"]).tolist() == [3, 3]
  assert np.bincount(found.eval.constants["label"]).tolist() == [2, 2]


def test_sources_survive_pickling_after_use(prepared):
  source = tfds_sets.TfdsSet("tiny", str(prepared)).source("train")
  (first,) = source.read([3], None, 3)
  (again,) = pickle.loads(pickle.dumps(source)).read([3], None, 3)
  np.testing.assert_array_equal(first["image"], again["image"])
  assert source.labels()[3] == first["label"]


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("tiyn", r"unknown data set 'tiyn'; did you mean 'tiny'.* tfds\.builder\('tiyn'"),
    ("tiny:2.0.0", r"unknown version '2\.0\.0' of tfds:tiny; did you mean '1\.0\.0'"),
  ],
)
def test_sets_that_cannot_serve(prepared, section, name, message):
  with pytest.raises(DataError, match=message):
    data.load(
      section(name=f"tfds:{name}", dir=str(prepared)), seed=0, batch_size=1, eval_batch_size=1
    )


@pytest.mark.parametrize(
  ("split", "message"),
  [("trian", r"unknown split 'trian'; did you mean 'train'"), ("train[:0]", "no examples")],
)
def test_splits_that_cannot_serve(prepared, section, split, message):
  config = section(name="tfds:tiny", dir=str(prepared), train_split=split)
  with pytest.raises(DataError, match=message):
    data.load(config, seed=0, batch_size=1, eval_batch_size=1)


def test_a_set_without_labels_has_images_alone(prepared, section):
  config = section(name="tfds:blind", dir=str(prepared))
  found = data.load(config, seed=0, batch_size=2, eval_batch_size=2)
  assert set(found.features) == {"image"}
  assert found.class_names == ()


def test_missing_directory_says_how_to_prepare_and_starts_no_download(
  tmp_path, section, monkeypatch
):
  import socket

  def refuse(*_, **__):
    raise AssertionError("opened a connection")

  monkeypatch.setattr(socket.socket, "connect", refuse)
  missing = tmp_path / "nowhere"
  config = section(name="tfds:cifar10", dir=str(missing))
  with pytest.raises(DataError, match=r"nowhere' does not exist.*download_and_prepare\(\)"):
    data.load(config, seed=0, batch_size=1, eval_batch_size=1)
  assert not missing.exists()
  with pytest.raises(DataError, match=r"unknown data set 'cifar10'.*download_and_prepare\(\)"):
    data.load(
      section(name="tfds:cifar10", dir=str(tmp_path)), seed=0, batch_size=1, eval_batch_size=1
    )


def test_other_file_formats_are_refused(tmp_path, section):
  place = tmp_path / "old" / "1.0.0"
  place.mkdir(parents=True)
  (place / "dataset_info.json").write_text(json.dumps({"name": "old", "fileFormat": "tfrecord"}))
  with pytest.raises(DataError, match="prepared as tfrecord"):
    data.load(section(name="tfds:old", dir=str(tmp_path)), seed=0, batch_size=1, eval_batch_size=1)


def test_without_a_usual_split_the_key_is_named(shared_data, section):
  with pytest.raises(DataError, match=r"no split named train: set data\.train_split .*small1"):
    data.load(
      section(name="tfds:omniglot_small", dir=str(shared_data)),
      seed=0,
      batch_size=1,
      eval_batch_size=1,
    )


def test_cifar10(shared_data, section):
  config = section(name="tfds:cifar10", dir=str(shared_data), train_examples=500, eval_examples=100)
  found = data.load(config, seed=0, batch_size=100, eval_batch_size=100)
  assert found.image_shape == (32, 32, 3)
  assert found.class_names[3] == "cat"
  assert np.bincount(found.train.constants["label"]).tolist() == [50] * 10
  # Published channel means of CIFAR-10: 125.3, 123.0, 113.9.
  np.testing.assert_allclose(found.preprocess.mean, [125.3, 123.0, 113.9], atol=6)


def test_label_maps_are_fitted_with_their_images(shared_data, section):
  config = section(name="tfds:camvid", dir=str(shared_data), train_examples=4, eval_examples=2,
                   image_size=(90, 120))  # fmt: skip
  found = data.load(config, seed=0, batch_size=2, eval_batch_size=2)
  assert {name: f.kind for name, f in found.features.items()} == {
    "image": "image", "segmentation": "label_map",
  }  # fmt: skip
  assert found.image_shape == (90, 120, 3)
  maps = found.train.constants["segmentation"]
  assert maps.shape == (4, 90, 120)
  assert maps.max() < len(found.class_names)
  assert len(np.unique(maps)) > 4


def test_boxes_are_padded_and_fitted_with_their_images(shared_data, section):
  config = section(name="tfds:bccd", dir=str(shared_data), train_examples=4, eval_examples=2,
                   image_size=(120, 160))  # fmt: skip
  found = data.load(config, seed=0, batch_size=2, eval_batch_size=2)
  boxes, valid = (found.train.constants[name] for name in ("boxes", "boxes_valid"))
  assert boxes.shape[2] == 4
  assert valid.any(axis=1).all()
  assert (boxes[~valid] == 0).all()
  low, high = boxes[valid][:, :2], boxes[valid][:, 2:]
  assert (high > low).all()
  assert high.max(0)[0] <= 120
  assert high.max(0)[1] <= 160
  assert found.train.constants["box_labels"].max() < 3


@pytest.mark.parametrize("key", ["is_crowd", "is_difficult"])
def test_objects_that_do_not_count_are_marked(key):
  tfds = pytest.importorskip("tensorflow_datasets")
  objects = {
    "bbox": tfds.features.BBoxFeature(),
    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    key: tfds.features.Scalar(dtype=np.bool_),
  }
  declared = tfds.features.FeaturesDict(
    {"image": tfds.features.Image(), "objects": tfds.features.Sequence(objects)}
  )
  features = tfds_sets.read_features(declared, tfds_sets.MOST_BOXES)
  raw = {
    "image": np.zeros((10, 20, 3), np.uint8),
    "objects": {"bbox": [[0, 0.5, 1, 1], [0.1, 0, 0.2, 0.1]], "label": [1, 0], key: [True, False]},
  }
  example = tfds_sets.TfdsSource("sets/x/1.0.0", "train", features)._example(raw, None, 3)
  assert example["boxes"][:3].tolist() == [[0, 10, 10, 20], [1, 0, 2, 2], [0, 0, 0, 0]]
  assert example["boxes_valid"].sum() == 2
  assert example["box_labels"][:3].tolist() == [1, 0, 0]
  assert example["box_crowd"][:3].tolist() == [True, False, False]


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json", "*train.array_record*"])
@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_damaged_files_are_told_of(prepared, section, tmp_path, file, damage):
  shutil.copytree(prepared, tmp_path / "sets")
  (path,) = (tmp_path / "sets" / "tiny" / "1.0.0").glob(file)
  content = path.read_bytes()
  path.unlink()
  if damage != "missing":
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"[]")
  with pytest.raises(DataError, match="tiny") as raised:
    data.load(
      section(name="tfds:tiny", dir=str(tmp_path / "sets")), seed=0, batch_size=4, eval_batch_size=3
    )
  assert len(str(raised.value).splitlines()) <= 12


def test_what_is_to_be_copied_into_a_shell_is_quoted(tmp_path, section):
  config = section(name="tfds:$(id)", dir=str(tmp_path))
  with pytest.raises(DataError, match=r"python -c 'import .*\$\(id\)"):
    data.load(config, seed=0, batch_size=1, eval_batch_size=1)
