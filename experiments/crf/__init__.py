"""The experiment on random fields over the scores of a segmentation network."""
