"""Model families whose weights can be converted from torchvision, with their rules."""

from __future__ import annotations

from cnnlab.weights import names_classic, names_detection, names_modern, names_segmentation
from cnnlab.weights.names import Family

FAMILIES: dict[str, Family] = {
  **names_classic.FAMILIES,
  **names_modern.FAMILIES,
  **names_segmentation.FAMILIES,
  **names_detection.FAMILIES,
}
