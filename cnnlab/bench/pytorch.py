"""The same training step in PyTorch, for the comparison of `cnnlab bench --suite`.

Networks are torchvision's and timm's, and two of our own for CIFAR that neither has. Images are
channels_last, the loss is cross-entropy, the optimizer SGD with momentum and weight decay, as in
`cnnlab.bench.step`. bfloat16 is PyTorch's autocast. On a GPU the model is compiled.

Run as a program, since PyTorch's threads would disturb JAX's: it prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from cnnlab.bench.timing import peak_memory, repeat, speed

# Operators of torchvision that its detection models need, and no classifier.
COMPILED_OPERATORS = (
  "nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d",
  "_roi_align_backward", "_roi_pool_backward", "_ps_roi_align_backward", "_ps_roi_pool_backward",
  "_deform_conv2d_backward",
)  # fmt: skip


def import_torchvision() -> Any:
  """Imports torchvision, even if its compiled part is made for another build of PyTorch."""
  import torch

  try:
    import torchvision
  except RuntimeError as error:
    if "torchvision::" not in str(error):
      raise
    library = torch.library.Library("torchvision", "DEF")
    for name in COMPILED_OPERATORS:
      library.define(f"{name}(Tensor x) -> Tensor")
    import_torchvision.library = library  # type: ignore[attr-defined]  # lives as long as the module
    import torchvision
  return torchvision


def resnet20() -> Any:
  """Returns ResNet-20 for CIFAR with parameter-free shortcuts (arXiv:1512.03385, 4.2)."""
  import torch
  from torch import nn

  class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
      super().__init__()
      self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
      self.norm1 = nn.BatchNorm2d(outputs)
      self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
      self.norm2 = nn.BatchNorm2d(outputs)
      self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Any) -> Any:
      y = torch.relu(self.norm1(self.conv1(x)))
      y = self.norm2(self.conv2(y))
      if self.added or self.stride > 1:
        x = x[:, :, :: self.stride, :: self.stride]
        x = nn.functional.pad(x, (0, 0, 0, 0, 0, self.added))
      return torch.relu(x + y)

  widths = [16] * 3 + [32] * 3 + [64] * 3
  blocks = [
    Block(before, width, 2 if before != width else 1)
    for before, width in zip([16, *widths], widths, strict=False)
  ]
  stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
  head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
  return nn.Sequential(*stem, *blocks, *head)


def all_cnn_c() -> Any:
  """Returns All-CNN-C (arXiv:1412.6806, table 2)."""
  from torch import nn

  def conv(inputs: int, outputs: int, window: int, stride: int = 1, padding: int = 0) -> list[Any]:
    return [nn.Conv2d(inputs, outputs, window, stride, padding), nn.ReLU()]

  return nn.Sequential(
    nn.Dropout(0.2),
    *conv(3, 96, 3, 1, 1), *conv(96, 96, 3, 1, 1), *conv(96, 96, 3, 2, 1),
    nn.Dropout(0.5),
    *conv(96, 192, 3, 1, 1), *conv(192, 192, 3, 1, 1), *conv(192, 192, 3, 2, 1),
    nn.Dropout(0.5),
    *conv(192, 192, 3), *conv(192, 192, 1),
    nn.Conv2d(192, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
  )  # fmt: skip


def create(name: str) -> tuple[Any, str]:
  """Returns the network of that name and where it is from: 'torchvision', 'timm' or 'cnnlab'."""
  own = {"resnet20": resnet20, "all_cnn_c": all_cnn_c}
  if name in own:
    return own[name](), "cnnlab"
  torchvision = import_torchvision()
  if hasattr(torchvision.models, name):
    return getattr(torchvision.models, name)(), "torchvision"
  import timm

  names = {"vit_ti_16": "vit_tiny_patch16_224", "vit_s_16": "vit_small_patch16_224"}
  return timm.create_model(names.get(name, name)), "timm"


def bench(
  name: str, image_size: int, batch_size: int, dtype: str, seconds: float, repeats: int
) -> dict[str, Any]:
  """Times the training step; returns what `cnnlab.bench.step.bench` does, as far as it is known."""
  import torch

  device = "cuda" if torch.cuda.is_available() else "cpu"
  network, source = create(name)
  network = network.to(device, memory_format=torch.channels_last).train()
  optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
  shape = (batch_size, 3, image_size, image_size)
  pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
  pixels = pixels.to(memory_format=torch.channels_last)
  labels = torch.randint(0, 10, (batch_size,), device=device)
  forward = torch.compile(network) if device == "cuda" else network
  half = dtype == "bfloat16"

  def run(steps: int) -> None:
    for _ in range(steps):
      loss = step()
    loss.item()

  def step() -> Any:
    with torch.autocast(device, torch.bfloat16, enabled=half):
      out = forward((pixels.float() - 127.5) / 63.0)
      loss = torch.nn.functional.cross_entropy(out.float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss

  started = time.perf_counter()
  run(1)
  first_s = time.perf_counter() - started
  steps, times = repeat(run, seconds, repeats)
  peak = torch.cuda.max_memory_allocated() if device == "cuda" else peak_memory()
  return {
    "model": name,
    "batch_size": batch_size,
    "dtype": dtype,
    "image_size": image_size,
    "compile_s": round(first_s, 2),
    "peak_memory_mb": round(peak / 2**20),
    "steps": steps * len(times),
    **speed(times, batch_size),
    "by": f"PyTorch {torch.__version__} ({source})",
  }


def main() -> None:
  """Prints the result of one network, or {"error": why not}."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--name")
  for option in ("image_size", "batch_size", "repeats"):
    parser.add_argument(f"--{option}", type=int)
  parser.add_argument("--dtype")
  parser.add_argument("--seconds", type=float)
  try:
    result = bench(**vars(parser.parse_args()))
  except ImportError as error:
    result = {"error": str(error)}
  print(json.dumps(result))


if __name__ == "__main__":
  main()
