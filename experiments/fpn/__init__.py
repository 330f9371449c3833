"""The experiment on feature pyramids against single maps."""
