"""Zero padding against valid convolutions."""
