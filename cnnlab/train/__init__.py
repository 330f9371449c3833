"""Training: state, step, optimizers and schedules, devices, and the one loop."""

from cnnlab.train.interrupt import Interrupted
from cnnlab.train.loop import train
from cnnlab.train.restore import evaluate_run
from cnnlab.train.setup import Setup, prepare

__all__ = ["Interrupted", "Setup", "evaluate_run", "prepare", "train"]
