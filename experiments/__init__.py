"""One folder for each question: variants, claims, the papers' figures and our measured results."""
