"""Ranges of the numbers that models have as options."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cnnlab.annotations import Between, NotEmpty, PositiveFraction, ProperFraction

Classes: TypeAlias = Annotated[int, Between(1, 100_000)]
Boxes: TypeAlias = Annotated[int, Between(1, 100_000)]
Channels: TypeAlias = Annotated[int, Between(1, 1_000_000)]
# ResNet-1202 has stages of 200 blocks; tracing takes its time, and more would seem to hang.
DEEPEST = 200
Depth: TypeAlias = Annotated[int, Between(1, DEEPEST)]
Depths: TypeAlias = Annotated[tuple[Depth, ...], NotEmpty()]
Window: TypeAlias = Annotated[int, Between(1, 1000)]  # in pixels, as are strides
Windows: TypeAlias = Annotated[tuple[Window, ...], NotEmpty()]
PaddingSize: TypeAlias = Annotated[int, Between(0, 1000)]
Width: TypeAlias = Annotated[float, Between(0.001, 1000)]
Dropout: TypeAlias = ProperFraction
Survival: TypeAlias = PositiveFraction
