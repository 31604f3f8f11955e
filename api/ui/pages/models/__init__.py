"""Models and tiers: what is served where, in which order, for how much, and what the operator changes of it."""
