"""Whether a number stands as an answer: not denied, not left open, no part of a sum left undone."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pytest_llmeval.scoring.numbers import Number
from pytest_llmeval.scoring.triggers import starts_of

#: How far from a number words that concern it are looked for.
_WINDOW = 60
#: How every match of `_DENIED_BEFORE` begins.
_DENYING = (
    "not ", "not\n", "not:", "cannot", "nor ", "nor\n", "no longer", "n't",
    "n’t", "never", "neither", "wrong", "incorrect", "false", "instead", "rather", "except",
    "unlike", "other than", "anything but", "everything but", "all but",
    "nowhere near", "nothing like", "far from", "mistake", "不",
)  # fmt: skip
_RIGHT = r"""(?:(?:\w+ly\s+)?(?:(?:the|a|my|our)\s+)?
    (?:right|correct|final|true|valid|possible|it|answers?|result|solution)\b)"""
_DENIED_BEFORE = re.compile(
    r"""(?: \b(?:not|never|neither|nor|cannot|rather\s+than|instead\s+of|except|unlike|no\s+longer
              |(?<!nothing\s)(?<!none\s)other\s+than|(?:any|every)thing\s+but|all\s+but
              |nowhere\s+near|nothing\s+like|far\s+from)
          | n['’]t )
        [\s:]+ (?: (?:be|is|equals?|to|the|answer|result|really|actually|definitely|possibly|exactly
                  |simply|just|quite|even|say|choose|pick|guess|get|have|it|that|go|with|assume
                  |think) [\s:]+ ){0,5} ["'“*$(]* \Z
      | \b(?: (?:not\s+(?:the\s+case|true|correct|right)|wrong|incorrect|mistake)\s+(?:that|to)\b
            (?: (?!\bbut\b) [^.,;:\n] ){0,40} ) \Z
      | 不[是等]? \s* \Z
      | (?: n['’]t | \bnot | \bnever ) \s+ (?:think|believe)\b
        (?: (?!\bbut\b) [^.,;:\n] ){0,40} \Z
      | \b(?:wrong|incorrect|false)\s+ (?:answer|result|solution|number)s? \s*
        (?: is\b | are\b | was\b | [:=] ) [\s"'“*$(]* \Z""",
    re.IGNORECASE | re.VERBOSE,
)
_DENIED_AFTER = re.compile(
    rf"""["'”’*_)\]}}$]* (?: \s*\?\s*(?:no|nope|wrong)\b(?!\s+doubt)
      | (?: \s+ (?!is\b|was\b|seems\b|looks\b|must\b|would\b|cannot\b|can\b|could\b) [a-z]+ )? \s+
        (?: (?:is|was|seems|looks|must\s+be|would\s+be)\s+ (?:(?:\w+ly|also|just)\s+){{0,2}}
              (?:(?:the|an?)\s+)?
              (?: wrong | incorrect | false | impossible | invalid | not\s+{_RIGHT} )
          | (?:is|was|would|could|ca)n['’]t\s+ (?:be\s+)? {_RIGHT}
          | (?:cannot|(?:can|could)\s+not)\s+ be\s+ {_RIGHT} ) )""",
    re.IGNORECASE | re.VERBOSE,
)
_DOUBTED = re.compile(
    r"\b(?:wait|hold\s+on|oops)\b(?=\s*[,.!:…–—-])|(?<=[.!?\n]\s)(?:wait|actually)\b", re.IGNORECASE
)

#: Between two numbers: one thing or the other, or anything from one to the other.
_OPEN = re.compile(
    r"\W*(?:\w+\W+)?(?:or|OR)\W+(?:\w+\W+)?|[^\w\n]*\b(?:to|through|until)\W+|[ \t]*[<–][ \t]*"
)
_AND = re.compile(r"\W*and\W+", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween\W+\Z", re.IGNORECASE)

_OPERATOR = r"""(?: [ \t]*[-+−–/×÷·⋅^][ \t]* | [ \t]\*[ \t] | \*{1,2} | [ \t]*[x][ \t]*
    | [ \t]+(?:plus|minus|times|multiplied[ ]by|divided[ ]by)[ \t]+ )"""
_UNDONE_BEFORE = re.compile(
    rf"(?: \d%?{_OPERATOR} | \d[ \t]+[a-z]+[ \t]+[+×÷][ \t]* ) [$(]*\Z | √\Z",
    re.IGNORECASE | re.VERBOSE,
)
_UNDONE_AFTER = re.compile(
    rf"[ ]?(?:\^|[⁰¹²³⁴-⁹]) | \$?{_OPERATOR}[$(]*\d", re.IGNORECASE | re.VERBOSE
)
_SIGNED = re.compile(r"\d[ \t]\Z")

#: What a number is measured by ("larger than 17", "> 17"), or a remark behind it in brackets.
_ASIDE = re.compile(
    r"""\d [^.!?\n]{0,40}? \b(?:than|out\s+of)\s+[*$(]* \Z | \d[ \t]*>[ \t]*\Z
      | \d [*_]{0,2} (?:[ ][a-z]+)? [ ]? \( (?:rounded|from|since|because|as|after|in|with|using|see
          |compared|exactly|precisely|about|approximately|roughly|originally)\b [^()\n]{0,40} \Z
      | \b(?:is|are|was|were|has|have|had) \s+ (?:\w+ly\s+|about\s+|a\s+total\s+of\s+)?
          [$€£]?\d[\d.,]*%?[*_]{0,2} (?:\s+[a-z]+){0,3}
          \s+(?:after|in|over|within|for|during|since|by)\s+ (?:the\s+|all\s+)?[*$(]* \Z
      | \bif\s+(?:you|we|one|they|someone)\s+(?:\w+\s+){1,2} [*$(]* \Z
      | \b(?:people|some|many|others|students|they)\s+(?:\w+\s+){0,2}
          (?:say|said|think|get|got|answer|guess|believe|claim|assume)\s+
          (?:that\s+)?(?:it(?:['’]s|\s+is)\s+)? [*$(]* \Z
      | \bconfidence(?:\s+(?:level|is|of))*\s*[:=]?\s* \Z""",
    re.IGNORECASE | re.VERBOSE,
)
_SURE = re.compile(r"\s*(?:sure|certain|confident|confidence)\b", re.IGNORECASE)
#: "15 minutes (0.25 hours)".
_REMARK_BEFORE = re.compile(r"\d[*_]{0,2}[ ]?[A-Za-z]+[ ]?\([≈=~ ]*\Z")
_REMARK_AFTER = re.compile(r"[ ]?[A-Za-z]+[ ]?\)")
#: "42 apples in 3 boxes": which of the two is asked for shows in no word.
_TRAILING_BEFORE = re.compile(
    r"(?<!result )(?<!results )(?<!resulted )(?<!resulting )"
    r"\b(?:after|in|over|within|for|during)\s+(?:the\s+|all\s+)?[*$(]*\Z",
    re.IGNORECASE,
)
_TRAILING_AFTER = re.compile(r"[*_]{0,2}[ ][A-Za-z]+[*_]{0,2}[.!]?\s*\Z")
_SENTENCE_END = re.compile(r"[.!?;]\s|\n")

_BOUNDING = frozenset("<>≠≤≥=±/")
_BOUND_BEFORE = re.compile(
    r"""(?: \b(?:less|greater|more|fewer|larger|smaller|higher|lower|bigger)\s+than\s+
            (?:or\s+equal\s+to\s+)?
          | (?<![-=>]) [<>≠≤≥] =? \s* | != \s* | (?:±|\+/-) \s* ) [*$(]* \Z""",
    re.IGNORECASE | re.VERBOSE,
)
_BOUND_AFTER = re.compile(r"[ ]*[<≤][ ]*(?!\w+\s*/?>)[A-Za-z]")
_TAG_BEFORE = re.compile(r"<\w[^<>]{0,20}>\s*\Z")


@dataclass(slots=True)
class Standing:
    """The numbers of a text, and whether each of them stands, judged only when asked."""

    text: str
    found: Sequence[Number]
    refuted: Collection[int] = ()
    _denied: dict[int, bool] = field(default_factory=dict)
    _stands: dict[int, bool] = field(default_factory=dict)

    def denies(self, number: Number) -> bool:
        """Say whether the text says that a number is not the answer."""
        known = self._denied.get(number.start)
        if known is None:
            known = self._denied[number.start] = _is_denied(self.text, number)
        return known

    def stands(self, number: Number) -> bool:
        """Say whether a number may be an answer: neither denied nor a bound of one."""
        known = self._stands.get(number.start)
        if known is None:
            no_more = number.start in self.refuted or self.denies(number)
            known = not (no_more or _is_bound(self.text, number))
            self._stands[number.start] = known
        return known

    def backwards(self, end: int | None = None) -> Iterator[Number]:
        """The numbers that stand, from the last one on that begins before `end`."""
        last = len(self.found) if end is None else bisect_left(self.found, (end,))
        return (
            self.found[place] for place in range(last - 1, -1, -1) if self.stands(self.found[place])
        )


def _is_denied(text: str, number: Number) -> bool:
    window = max(0, number.start - _WINDOW)
    words = starts_of(text[window : number.start], _DENYING)
    if any(_DENIED_BEFORE.match(text, window + word, number.start) for word in words):
        return True
    return _DENIED_AFTER.match(text, number.end) is not None


def _is_bound(text: str, number: Number) -> bool:
    """Say whether it bounds another one ("less than 42", "x ≠ 42"), or its error ("± 1")."""
    start, end = number.start, number.end
    window = max(0, start - 24)
    if _BOUND_AFTER.match(text, end):
        return True
    near = text[window:start]
    if ("than" not in near.lower() and _BOUNDING.isdisjoint(near)) or not _BOUND_BEFORE.search(
        near
    ):
        return False
    return _TAG_BEFORE.search(near) is None


def is_doubted(standing: Standing, number: Number) -> bool:
    """Say whether second thoughts ("Wait, ...") come to a last number that is another one."""
    if number is standing.found[-1]:
        return False
    doubt = _DOUBTED.search(standing.text, number.end)
    last = next(standing.backwards()) if doubt else number
    return doubt is not None and doubt.start() < last.start and last.distance(number) != 0


def is_open(text: str, found: Sequence[Number], number: Number) -> bool:
    """Say whether the number is one side of "5 or 6" or "5 to 6"; "1/2 or 0.5" is one thing."""
    place = bisect_left(found, number)
    pairs = [
        (found[left], found[left + 1]) for left in (place - 1, place) if 0 <= left < len(found) - 1
    ]
    return any(
        _are_alternatives(text, left, right) and left.distance(right) != 0 for left, right in pairs
    )


def _are_alternatives(text: str, left: Number, right: Number) -> bool:
    if right.start - left.end > 40:
        return False
    if _OPEN.fullmatch(text, left.end, right.start):
        return True
    return bool(
        _AND.fullmatch(text, left.end, right.start)
        and _BETWEEN.search(text, max(0, left.start - 12), left.start)
    )


def is_undone(text: str, number: Number) -> bool:
    """Say whether the number is an operand (17 + 25, 3 times 14), a base (2^10, 4²) or a root's."""
    start = number.start
    if _UNDONE_AFTER.match(text, number.end):
        return True
    window = max(0, start - 24)
    if text[start] in "+-−–mM" and _SIGNED.search(text, window, start):
        return True
    return _UNDONE_BEFORE.search(text, window, start) is not None


def is_aside(text: str, number: Number) -> bool:
    """Say whether the number only measures another one, or is a remark on it."""
    start, end = number.start, number.end
    if _ASIDE.search(text, max(0, start - _WINDOW), start) or _SURE.match(text, end):
        return True
    near = max(0, start - 24)
    in_brackets = _REMARK_AFTER.match(text, end) and _REMARK_BEFORE.search(text, near, start)
    return in_brackets is not None


def is_trailing(standing: Standing, number: Number) -> bool:
    """Say whether the text ends with the number of something else: "42 apples in 3 boxes"."""
    text = standing.text
    if not _TRAILING_AFTER.match(text, number.end):
        return False
    if not _TRAILING_BEFORE.search(text, max(0, number.start - 24), number.start):
        return False
    before = next(standing.backwards(number.start), None)
    return before is not None and not _SENTENCE_END.search(text, before.end, number.start)


def is_alone(text: str, number: Number) -> bool:
    """Say whether a number is all that its line says."""
    start = text.rfind("\n", 0, number.start) + 1
    end = text.find("\n", number.end)
    rest = text[start : number.start] + text[number.end : end if end >= 0 else len(text)]
    return not any(character.isalnum() for character in rest)
