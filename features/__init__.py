"""Formulas: what is measured about the market on a day, from what was known by its end. Nothing is fetched or learnt here."""
