"""/v1/responses/{id} and /v1/conversations: what is stored, for the key that it is stored under."""
