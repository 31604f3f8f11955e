"""Compare gateways side by side: the same loads in turn, ratios pair by pair, and what else the machine did."""
