"""Transfer learning: frozen codes, fine-tuning and training from scratch."""
