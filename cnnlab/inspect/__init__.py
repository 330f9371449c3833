"""Looking at a network without training it: sheets, receptive fields, pictures."""

from cnnlab.inspect.fields import Field, Fields
from cnnlab.inspect.sheet import OPTIMISER_SLOTS, Row, Sheet, describe
from cnnlab.inspect.trace import receptive_fields

__all__ = ["Field", "Fields", "OPTIMISER_SLOTS", "Row", "Sheet", "describe", "receptive_fields"]
