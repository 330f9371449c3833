"""Seven normalisations at three batch sizes."""
