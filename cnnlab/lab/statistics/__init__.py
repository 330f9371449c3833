"""From the runs of an experiment to means, intervals and verdicts; nothing here reads a file."""
