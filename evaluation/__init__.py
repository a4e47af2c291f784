"""Is a forecast good? Bare maths on arrays: no market, no model, no MLflow, no picture."""
