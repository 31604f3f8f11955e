"""What a request costs and leaves behind: budgets and the usage log."""
