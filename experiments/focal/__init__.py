"""The experiment on losses for rare classes."""
