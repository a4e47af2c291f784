"""What the world said, and when it was known: clients, files, the simulated market, the store. Alone in touching the network."""
