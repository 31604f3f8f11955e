"""Code of strangers: what colouring it may take is counted for all blocks of a text together."""

from __future__ import annotations

from api.ui.markdown.code_blocks import Colouring, to_code_block


def test_blocks_after_the_time_of_their_text_are_shown_without_colours() -> None:
    """Each of many blocks may be of the slowest kind."""
    colouring = Colouring()
    assert '<span class="k">def</span>' in to_code_block("def f(): pass", "python", colouring)
    spent, colouring.left_s = colouring.left_s, 0.0
    assert "<code>def f(): pass</code>" in to_code_block("def f(): pass", "python", colouring)
    assert colouring.left_s < 0 < spent < Colouring().left_s
