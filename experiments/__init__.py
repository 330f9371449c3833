"""One folder per question: variants, claims, the papers' figures, and measured results."""
