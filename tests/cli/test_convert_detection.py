"""A detector's published weights become a run that predicts COCO's classes."""

import argparse

import jax
import numpy as np
from PIL import Image

from cnnlab import runs
from cnnlab.cli import convert
from cnnlab.defaults import default_config
from cnnlab.models import create_model
from cnnlab.tasks import Detection, saved_task

TINY = {"width": 0.0625, "blocks": (1, 1, 1, 1), "features": 8, "hidden": 8, "proposals": 10}


def test_a_detector_predicts_the_classes_of_coco(tmp_path):
  arguments = argparse.Namespace(model="fasterrcnn_resnet50_fpn", weights="x.pth", class_names=None)
  taken = convert.Input(64, 64, np.zeros(3, np.float32), np.full(3, 255, np.float32))
  model = create_model(arguments.model, **TINY)
  page = default_config()
  page.model = {"name": arguments.model, **TINY}
  config = convert._config(arguments, page, model, taken)
  task = saved_task(config)
  assert isinstance(task, Detection)
  assert len(task.class_names) == 90
  assert (task.class_names[0], task.class_names[11], task.class_names[89]) == (
    "person", "id 12", "toothbrush",
  )  # fmt: skip
  init = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))
  variables = init(np.zeros((1, 64, 64, 3), np.float32))
  run = runs.load(convert.write_run(tmp_path / "run", config, dict(variables), taken))
  Image.new("RGB", (80, 50)).save(tmp_path / "a.png")
  table = run.predict([str(tmp_path / "a.png")])
  assert list(table.columns) == ["image", "class", "score", "ymin", "xmin", "ymax", "xmax"]
