"""One page that answers: what is the probability, should I trust it, what would change it, is the claim true."""
