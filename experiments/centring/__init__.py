"""Zero-centring of images."""
