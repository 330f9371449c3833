"""Data sets: embedded digits, prepared TFDS sets, image folders; on the device or streamed."""

from cnnlab.data.augment import Preprocess
from cnnlab.data.images import load_image
from cnnlab.data.order import train_indices
from cnnlab.data.pipeline import Data, load, outline
from cnnlab.data.splits import Split

__all__ = ["Data", "Preprocess", "Split", "load", "load_image", "outline", "train_indices"]
