"""Questions about the claim and the method: the audit, leak check, power study, sweep and backtest. No forecast needs them."""
