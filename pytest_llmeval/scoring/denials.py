"""Whether an option is denied ("not A", "A is wrong"), left behind ("B over A") or remarked on.

A reason is no denial: "The answer is D, because D is not in the EU" chooses D. What denies an
option says that it is not right, not the answer, not possible, or does not fit.
"""

from __future__ import annotations

import re

from pytest_llmeval.scoring.triggers import starts_of

#: How far before an option words that deny it are looked for.
_WINDOW = 60
#: How every match of `_DENIED_BEFORE` begins.
_DENYING = (
    "not ", "not\n", "cannot", "nor ", "nor\n", "no longer", "n't", "n’t", "never", "neither",
    "rather", "instead", "except", "unlike", "eliminat", "rul", "exclud", "discard", "reject",
    "wrong", "incorrect", "false", "worst", "least", "other than", "anything but",
    "everything but", "all but", "avoid", "mistake",
    "people", "some", "many", "others", "students", "they ", "不", "非", "别",
)  # fmt: skip
#: "Don't choose B", "I would never say that it's B".
_CHOOSE = r"""(?:(?:choose|pick|select|say|guess|answer|use|take|recommend|think|believe|assume
    |go\s+(?:with|for)|opt\s+for|vote\s+for)\s+
    (?:(?:that\s+)?(?:it|this|the\s+(?:\w+\s+)?answer)(?:['’]s|\s+is)\s+)?)"""
_DENIED_BEFORE = re.compile(
    rf"""(?: \b(?:not|never|neither|nor|cannot|rather\s+than|instead\s+of|except|unlike|no\s+longer
            |other\s+than|(?:any|every)thing\s+but|all\s+but|avoid(?:ing)?)
        | n['’]t | \b(?:eliminat|rul|exclud|discard|reject)\w*(?:\s+out)? )
        \s+ (?:\w+ly\s+)? {_CHOOSE}?
        (?: (?:be|is|options?|choices?|answers?|both|the|either|letter|likely|probably)\s+ )*
        ["'“‘(\[*]* \Z
      | \b(?: (?:people|some|many|others|students|they)\s+(?:\w+\s+){{0,2}}
            | (?:wrong|mistake|incorrect|not\s+(?:right|correct))\s+to\s+ ) {_CHOOSE}
        (?:(?:options?|answers?|the|letter)\s+)* ["'“‘(\[*]* \Z
      | [不非别] [是选能会]? \s* \Z
      | n['’]t\s+(?:think|believe|be)\b [^.,;:\n]{{0,40}} \Z
      | \b(?:wrong|incorrect|false|worst|least\s+\w+)
        (?: \s+(?:answer|option|choice|one|letter)s? )?
        (?: \s+(?:to|for|here|of)\b [^.:\n]{{0,24}}? )?
        (?: \s*: | \s+(?:is|are|was|would\s+be)\b ) [\s"'“‘(\[*]*
        (?: (?:option|choice|answer|letter|the)s?\s+ )* ["'“‘(\[]* \Z""",
    re.IGNORECASE | re.VERBOSE,
)
_ENDS = r"(?=\s*(?:[.,;:!?)\n]|\Z))"
_RIGHT = rf"""(?: (?:be\s+)? (?:\w+ly\s+)? (?:(?:the|an?|my|our)\s+)?
        (?: right | correct | true | possible | valid | it | fit | work | apply | match | hold
          | make\s+sense | (?:\w+\s+)?(?:answer|option|choice|solution|case)s? )\b | {_ENDS} )"""
_WRONG = rf"(?:wrong|incorrect|false|not\s*{_RIGHT})"
_DENIED_AFTER = re.compile(
    rf"""[\s"'”’*)\]]* (?:
        (?:is|are|was|were|would\s+be|seems?|looks?|must\s+be|can\s+be)\s+
          (?:(?:\w+ly|also|both|all|just|simply)\s+)*
          (?:{_WRONG}|out\b|impossible|eliminated|ruled\s+out|excluded|invalid)
      | (?: (?:is|are|was|were|does|do|can|could|wo|would|ca)n['’]t | cannot
          | (?:does|do|can|could|would)\s+not ) \s* {_RIGHT}
      | (?: (?:is|was|seems|looks|sounds|may\s+be|might\s+be)\s [^.;:!?\n]{{0,40}}? )? ,?\s*\bbut\s+
          (?: (?:(?:it|that|this)(?:['’]s|\s+is)\s+)? (?:\w+ly\s+)? {_WRONG}
            | (?:it|that|this|the\s+answer)(?:['’]s|\s+is)\s+now\b )
      | (?:would|could|might)\s+(?:be|have\s+been)\s+(?:\w+\s+){{0,3}}(?:if|had)\b
      | if\s+(?:it|he|she|they|we|this|that|the\s+\w+)\s+(?:were|had)\b
      | by\s+mistake\b | mistakenly\b | in\s+error\b
      | \?\s*(?:no|nope|wrong)\b(?!\s+doubt)
      | (?:[:=–—-]\s*|\()(?:wrong|incorrect|false|no{_ENDS}|not\s+{_RIGHT}) | [:=–—-]?\s*[✗✘❌]
      | 不 | 错 | 錯 | で?は(?:な|あり) )""",
    re.IGNORECASE | re.VERBOSE,
)
#: "D is not in the EU": a remark on D, no choice of it, and no denial of one.
_REMARK = re.compile(
    r"""[\s"'”’*)\]]* (?:
        (?:is|are|was|were|does|do|can|could|would|will|has|have)\s+ (?:\w+ly\s+)? not
      | \w{1,8}n['’]t | cannot )\b""",
    re.IGNORECASE | re.VERBOSE,
)
#: Between two options: the second one is left behind.
_PREFERRED = re.compile(
    r"""["'”’)\].*]*\s*(?:>|\b(?:over|beats|is\s+better\s+than)\b)\s*
        (?:(?:option|choice|answer|the)\s+)*["'“‘(\[*]*""",
    re.IGNORECASE | re.VERBOSE,
)


def is_denied(text: str, start: int, end: int) -> bool:
    """Say whether the option, or the options side by side, from `start` to `end` are denied."""
    window = max(0, start - _WINDOW)
    words = starts_of(text[window:start], _DENYING)
    if any(_DENIED_BEFORE.match(text, window + word, start) for word in words):
        return True
    return _DENIED_AFTER.match(text, end) is not None


def is_left_behind(text: str, other: int, start: int) -> bool:
    """Say whether an option that ends at `other` is preferred to the next one: "B over A"."""
    return start - other <= 40 and _PREFERRED.fullmatch(text, other, start) is not None


def is_remark(text: str, end: int) -> bool:
    """Say whether an option that ends here only begins a remark: "D is not in the EU"."""
    return _REMARK.match(text, end) is not None
