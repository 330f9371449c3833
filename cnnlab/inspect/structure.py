"""What `cnnlab look` tells of structure: blocks that can be missed, layers that are reused."""

from __future__ import annotations

import numpy as np

from cnnlab.errors import ConfigError
from cnnlab.inspect.feature_reuse import feature_reuse, feature_reuse_figure
from cnnlab.inspect.lesions import lesion_figure, lesion_study
from cnnlab.inspect.subject import Found, Subject
from cnnlab.tasks import Classification


def look_at_lesions(subject: Subject, found: Found) -> None:
  """Draws the error without some blocks, on the evaluation split.

  Raises:
    ConfigError: the network is no classifier, or has no block that can be removed.
  """
  if not isinstance(subject.trained.task, Classification):
    raise ConfigError("lesions: the run is of no classifier, whose errors are counted")
  _, stored, labels = subject.from_split(subject.wishes.examples)
  table = lesion_study(subject.trained, stored, np.asarray(labels))
  found.tables["lesions"] = table
  found.figures["lesions"] = lesion_figure(table)


def look_at_feature_reuse(subject: Subject, found: Found) -> None:
  """Draws what the layers of a DenseNet read; ConfigError for another network."""
  table = feature_reuse(subject.trained.variables["params"])
  found.tables["feature_reuse"] = table
  found.figures["feature_reuse"] = feature_reuse_figure(table)
