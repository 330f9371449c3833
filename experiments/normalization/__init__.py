"""Seven normalizations at three batch sizes."""
