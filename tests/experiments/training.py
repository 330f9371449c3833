"""What tests of experiments share: every variant has a config, and trains as in a sweep."""

from cnnlab.config import apply_overrides, load_page
from cnnlab.lab.execute import execute_run
from cnnlab.lab.plan import plan
from cnnlab.models import create_model


def check_configs(experiment, task, classes):
  """The config of every variant is one of that task, whose network can be made."""
  page = load_page(experiment.config)
  for label in experiment.variants:
    config = apply_overrides(page, experiment.settings(label))
    assert config.task.name == task
    options = config.model.to_dict()
    create_model(options.pop("name"), num_classes=classes, **options)


def train_variants(experiment, root):
  """Trains every variant with one seed; each must end well."""
  for spec in plan(experiment, root, seeds=1):
    outcome = execute_run(spec.to_dict(), lambda step, total: None)
    assert (spec.name, outcome["status"], outcome["reason"]) == (spec.name, "done", "")
