"""Signing in to the web UI: the password, sessions in signed cookies, a bound on tries."""
