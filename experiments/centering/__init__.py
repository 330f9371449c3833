"""Zero-centering of images."""
