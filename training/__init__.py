"""How a model is made and recorded: outcomes, purged walk-forward, verification, promotion, MLflow (`tracking`)."""
