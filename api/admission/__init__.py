"""Authentication and admission: the caller, and the limits of a request."""
