"""Facts about models: abilities, prices, parameters."""
