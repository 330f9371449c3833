"""One-shot learning of handwritten characters by embeddings."""
