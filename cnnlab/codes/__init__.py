"""CNN codes: what a trained network makes of another data set's images, and classifiers on it."""

from cnnlab.codes.classifiers import CLASSIFIERS, Score, classify
from cnnlab.codes.extraction import Codes, Extractor, Part, extract, opened

__all__ = [
  "CLASSIFIERS",
  "Codes",
  "Extractor",
  "Part",
  "Score",
  "classify",
  "extract",
  "opened",
]
