"""What every package stands on: errors, the target, the home, file safety, progress. Knows no market, model or forecast."""
