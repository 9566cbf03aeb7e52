"""The pipeline: a stored alert becomes a signal, a decision and an order."""
