"""Max versus average pooling, FC layers versus an average-pool head."""
