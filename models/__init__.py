"""From a row of inputs to probabilities. Models know nothing of markets, and nothing here judges a forecast or writes to MLflow."""
