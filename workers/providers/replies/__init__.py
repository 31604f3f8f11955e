"""Reading of upstreams' answers, for every provider."""
