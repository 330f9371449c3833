"""The classes of COCO, as torchvision's detectors count them."""

from __future__ import annotations

# Ids 1 to 90; a dash where COCO has no category.
_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -,
backpack, umbrella, -, -, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite,
baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, -, wine glass, cup, fork,
knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake,
chair, couch, potted plant, bed, -, dining table, -, -, toilet, -, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, -, book, clock, vase, scissors,
teddy bear, hair drier, toothbrush
"""


def coco_classes() -> list[str]:
  """Returns the names of the ids 1 to 90; those that COCO does not use are `id 12` and the like."""
  names = [name.strip() for name in _NAMES.split(",")]
  return [f"id {i}" if name == "-" else name for i, name in enumerate(names, start=1)]
