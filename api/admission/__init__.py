"""Who may ask, and whether this request may go on."""
