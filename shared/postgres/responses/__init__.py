"""What /v1/responses stores: responses and conversations."""
