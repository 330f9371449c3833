"""The experiment on the skip connections of segmentation networks."""
