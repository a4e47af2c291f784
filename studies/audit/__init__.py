"""Audit of the claim, line by line: the data known, the measurement of each line, and the one rule for all verdicts."""
