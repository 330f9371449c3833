"""Max against average pooling, FC against average-pool head."""
