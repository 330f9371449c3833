"""The experiment on the imbalance of anchors: focal loss, weights, and sampling."""
