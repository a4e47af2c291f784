"""How a model earns trust: outcomes, purged walk-forward, verification, tracking."""
