"""The pages, and the navigation that leads to them."""
