"""Texts of others inside a prompt: between marks that they cannot close, and without commands.

A judge reads what models wrote, and that may be written for the judge: "ignore the rubric". What is
quoted stands between two lines with a code that is made of the quoted texts themselves, so that
none of them can hold it: a text would have to contain a hash of itself. Signs that a chat template
would take for the end of a message are spaced out: a server reads them wherever they stand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

#: What opens or closes a turn in the chat templates of open models.
_TEMPLATE_SIGN = re.compile(
    r"<(?=[|｜])"
    r"|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|im_start|im_end|sys|inst)>)"
    r"|<(?=</?SYS>>)|\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\])",
    re.IGNORECASE,
)

_DIGITS = 10


def code_of(texts: Iterable[str], seed: int) -> str:
    """A code that none of the texts holds, the same whenever they are: ten hexadecimal digits."""
    quoted = list(texts)
    digest = hashlib.sha256(str(seed).encode())
    for text in quoted:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    code = digest.hexdigest()[:_DIGITS]
    while any(code in text for text in quoted):  # by chance, once in a trillion texts
        digest.update(code.encode())
        code = digest.hexdigest()[:_DIGITS]
    return code


def quoted(name: str, text: str, code: str) -> str:
    """A text between the marks of a code, under a name."""
    return f"----- {name} {code} begins -----\n{harmless(text)}\n----- {name} {code} ends -----"


def harmless(text: str) -> str:
    """A text whose signs no chat template takes for its own: `<|im_end|>` becomes `< |im_end|>`."""
    return _TEMPLATE_SIGN.sub(lambda sign: f"{sign[0]} ", text)
