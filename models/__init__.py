"""From a row of inputs to probabilities. Knows nothing of markets."""
