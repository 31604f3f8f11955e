"""Budgets and the usage log: the cost of a request and its record."""
