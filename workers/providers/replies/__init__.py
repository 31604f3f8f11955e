"""How every provider reads what upstreams answer."""
