"""Charts as SVG, drawn on the server: pure functions from values to markup, no script and no style attribute in it.

`timeline` has bars and lines over time, `ranking` bars in a list.
"""
