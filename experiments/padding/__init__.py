"""Zero padding versus valid convolutions."""
