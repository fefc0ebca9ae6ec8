"""Tokens of a chat template that stand in an answer as text, where no answer has a use for them.

They say that something between the model and us is set up wrongly: the chat template, or a token
that should have ended the answer. Tags of reasoning are the business of `markup.py`.
"""

from __future__ import annotations

import re

_MARKER = re.compile(
    r"""<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text
          |end_of_text|endoftext|start_of_role|end_of_role|start|end|channel|message|return
          |assistant|user|system|eot|end_of_turn|START_OF_TURN_TOKEN|END_OF_TURN_TOKEN)\|>
      | </?(?:start|end)_of_turn> | \[/?INST\] | <</?SYS>>
      | <｜(?:Assistant|User|end▁of▁sentence)｜>
      | </s>\s*\Z""",
    re.VERBOSE,
)
#: How every match of it begins.
_STARTS = ("<", "[")


def marker_in(text: str) -> str:
    """The first token of a chat template that stands in a text as text, "" without one."""
    found = _MARKER.search(text) if any(map(text.__contains__, _STARTS)) else None
    return found[0].strip() if found else ""
