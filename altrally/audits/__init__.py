"""The parts of an audit: what was known, each line of the claim measured, and the one rule that judges all of them."""
