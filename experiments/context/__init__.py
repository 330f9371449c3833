"""The experiment on context and resolution in segmentation networks."""
