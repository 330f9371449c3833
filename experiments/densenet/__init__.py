"""DenseNet's parameters and errors, arXiv:1608.06993."""
