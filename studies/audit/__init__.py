"""The claim, line by line: what was known, each line measured, and the one rule that judges all of them."""
