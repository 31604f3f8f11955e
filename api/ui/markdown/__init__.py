"""Markdown of strangers -> HTML that may stand in a page of ours."""
