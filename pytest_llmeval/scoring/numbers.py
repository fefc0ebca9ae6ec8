r"""Numbers as people and models write them, read exactly.

What is a number here, and what is not:

- 42, -5, +5, −5 (Unicode minus), minus 5, .5, 1e3, 2 × 10^3, 10^6, 3/4, 1 1/2, ½, \frac{3}{4};
  a hyphen after a letter or digit is no sign (COVID-19, 5-3), and one with a space before the
  digits is one only after "=" or ":" or when nothing else stands in the text;
- 1,234 and 1,234.5 and 1'234 and 1_234, also grouped by no-break or thin spaces; 2.5 million,
  2 dozen, 2.5k and $1M (a bare 1M is none: it may be metres); 50% and 50 percent;
- 12 345 with plain spaces only where it cannot be two numbers: alone, with a group like 000, or
  after "is", "=" or ":" and at the end of its sentence;
- separators that fit no reading make the whole run no number: 1,23 and 1.234,5 and 1.2.3 are
  skipped, never read in part, nor is 0,125 in groups of three. `decimal_comma` swaps the roles
  of "," and "." for such texts;
- letters of scripts that are written without spaces may touch it (答案是42);
- dates, times, ratios (3:4), ordinals (3rd), identifiers (B12, 0x1F), exponents and a division that
  comes out whole (12/4 is a sum left undone) are no numbers; nor are numbers written in words.

Values are fractions, so that equality is exact.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from pytest_llmeval.scoring.triggers import GLUED

#: Longer runs of digits are no answers, and turning them into integers takes quadratic time.
_MOST_DIGITS = 1000
_LARGEST_EXPONENT = 400

_GROUP_SPACES = "\u00a0\u202f\u2009"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPER = "[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4}"
_MINUS = "-−–"
_MAGNITUDES = {
    "dozen": 12,
    "hundred": 100,
    **dict.fromkeys(("thousand", "k"), 10**3),
    **dict.fromkeys(("million", "m"), 10**6),
    **dict.fromkeys(("billion", "bn", "b"), 10**9),
    "trillion": 10**12,
}

_RUN = rf"\d+(?:[.,_'’{_GROUP_SPACES}]\d+)*"
_SCAN = re.compile(
    rf"""
    (?=[\d.$€£¥₹¼½¾⅐-⅞+\-−–mnMN])  # most positions end here, which makes the scan twice as fast
    (?:
      # What most numbers are, digits between words; the rest would come to the same.
      (?P<plain> (?:\A|(?<=[^\W\d_]\ )|(?<=[=:+(,;]\ )) \d{{1,9}}
        (?=[.,;:!?)]* (?: \s+(?![\d/×x*·⋅^%¼½¾⅐-⅞tmbpTMBP\\])
                          (?!(?i:and\ \d|dozen|hundred)) | \Z )) )
    | (?P<skip> (?<![{GLUED}.])
        (?: \d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}
          | \d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}}
          | \d{{1,9}}(?::\d{{1,9}})+(?:\s?[apAP][mM])?
          | \d+(?i:st|nd|rd|th)
        ) (?![{GLUED}])
          | \d{{1,4}}年(?:\d{{1,2}}月)?(?:\d{{1,2}}日)? | \d{{1,2}}月\d{{1,2}}日 )
    | (?P<sign>
          \b(?i:minus|negative)\s+
        | (?<![{GLUED})\]}}%]) [-−–+]
        | (?<=[=:]\ ) [-−]\  )?
      (?: (?P<money>[$€£¥₹])\s? (?P<inner>[-−])? )?
      (?<![{GLUED}^第]) (?<!\^\{{) (?<![A-Za-z]-) (?<!\d\.)
      (?: (?P<whole>\d{{1,9}})\ (?P<and>and\ )?(?P<mixed>\d{{1,9}}/\d{{1,9}})
          (?![{GLUED}/]|[.,]\d)
        | (?P<over>\d{{1,99}})\s?/\s?(?P<under>\d{{1,99}}) (?![{GLUED}/]|[.,]\d)
        | 10 (?: \s?(?:\^|\*\*)\s?\{{?(?P<power>[-−]?\d{{1,3}})\}}? (?![{GLUED}])
               | (?P<raised>{_SUPER}) )
        | (?P<before>\d{{0,9}})\s?(?P<vulgar>[¼½¾⅐-⅞])
        | (?P<spaced>\d{{1,3}}(?:\ \d{{3}})+(?:[.,]\d+)?) (?!\d|[.,/]\d)
        | (?P<run>{_RUN}|\.\d+)
          (?: [eE](?P<e>[-+−]?\d{{1,4}})(?!\w|\.\d)
            | \s?[×x*·⋅]\s?10 (?: \s?(?:\^|\*\*)\s?\{{?(?P<ten>[-+−]?\d{{1,4}})\}}?
                                | (?P<super>{_SUPER}) )
          )?
          (?! [A-Za-z]+\d | [.,'’]?\d )
          (?: \s(?P<magnitude>(?i:dozen|hundred|thousand|million|billion|trillion)\b)
            | (?P<short>(?:[kKMB]|bn)\b|[万萬億亿兆]) )?
      )
      (?P<percent> \s?\\?[%％] | \s?(?i:per\s?cent(?:age)?|pct)\b )?
    )
    """,
    re.VERBOSE,
)
_DIGIT = re.compile(r"[\d¼½¾⅐-⅞]")
#: The same where nothing but ASCII is, which is found in a fifth of the time.
_ASCII_DIGIT = re.compile(r"[0-9]")
#: What stands between a sign in words and the first digit: "minus $ .5".
_BEFORE_DIGITS = frozenset("+-−–$€£¥₹.")
#: How "minus" and "negative" end.
_SIGNS_END = frozenset("sSeE")
_ENGLISH = re.compile(rf"(?:[1-9]\d{{0,2}}(?:[,_'’{_GROUP_SPACES}]\d{{3}})+|\d+)?(?:\.\d+)?")
_COMMA = re.compile(rf"(?:[1-9]\d{{0,2}}(?:[._'’{_GROUP_SPACES}]\d{{3}})+|\d+)?(?:,\d+)?")
_STATING = re.compile(r"(?:\b(?:is|are|was|equals)|[=:])\s*[*$(]*\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[*_$)]*(?:[.!?]?\s*\Z|[.!?]\s|\n)")
_NO_DIGITS = re.compile(r"\D")

_FRAC = re.compile(r"(\d?)\\[dt]?frac\s*(?:\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}|(\d)(\d))")
_LATEX_WORDS = (
    (re.compile(r"(?:\{,\}|,)(?:\\!)?(?=\d{3})|\\,(?=\d{3})"), ","),
    (re.compile(r"\^\s*\{?\s*\\(?:circ|degree)(?![A-Za-z])\s*\}?"), "°"),
    (
        re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname|boldsymbol)\s*\{([^{}]*)\}"),
        r" \1 ",
    ),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "×"),
    (re.compile(r"\\pm(?![A-Za-z])"), "±"),
    (re.compile(r"\\(?:neq?|[lg](?:t|eq?))(?![A-Za-z])"), "≠"),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\(?:[()\[\],;:! ]|(?:q?quad|left|right|displaystyle)(?![A-Za-z]))"), " "),
)


class Number(NamedTuple):
    """A number in a text: where, its exact value as written, and whether a percent sign follows."""

    start: int
    end: int
    value: Fraction
    percent: bool

    def distance(self, other: Number) -> Fraction:
        """How far apart two numbers are.

        Against a plain number, a percentage is a hundredth of what is written (50% is 0.5), or,
        where the plain number is 1 or more, also what is written (a target of 50 accepts "50%"):
        the nearer of the two.
        """
        if self.percent == other.percent:
            return abs(self.value - other.value)
        part, plain = (self, other) if self.percent else (other, self)
        distance = abs(part.value / 100 - plain.value)
        return min(distance, abs(part.value - plain.value)) if abs(plain.value) >= 1 else distance


def plain_latex(text: str) -> str:
    """Write LaTeX's fractions, signs and spaces as plain text; leave any other text as it is."""
    if "\\" not in text and "{,}" not in text:
        return text
    for pattern, plain in _LATEX_WORDS:
        text = pattern.sub(plain, text)
    return _FRAC.sub(_plain_fraction, text)


def numbers_in(text: str, *, decimal_comma: bool = False) -> list[Number]:
    """Find the numbers of a text, in order."""
    return list(_numbers(text, decimal_comma=decimal_comma))


def _numbers(text: str, *, decimal_comma: bool) -> Iterator[Number]:
    previous = 0
    for match in _candidates(text):
        if match.lastgroup == "plain":
            previous = match.end()
            yield Number(match.start(), previous, _whole(match[0]), percent=False)
            continue
        if match["skip"]:
            continue
        value = _value(match, decimal_comma=decimal_comma)
        if value is not None:
            if _is_negative(match, text, previous):
                value = -value
            yield Number(match.start(), match.end(), value, match["percent"] is not None)
        previous = match.end()


@lru_cache(maxsize=4096)
def _whole(digits: str) -> Fraction:
    return Fraction(int(digits))


def _candidates(text: str) -> Iterator[re.Match[str]]:
    """`_SCAN.finditer(text)`, begun anew right before each digit: most of a text has none."""
    end, digits = 0, _ASCII_DIGIT if text.isascii() else _DIGIT
    while digit := digits.search(text, end):
        match = _SCAN.search(text, _begin(text, digit.start(), end))
        if match is None:
            return
        yield match
        end = match.end()


def _begin(text: str, digit: int, end: int) -> int:
    """Where a number with its first digit here may begin, at `end` or behind it."""
    if digit - end > 1 and text[digit - 1] == " ":
        letter = text[digit - 2]
        if letter.isalpha() and letter not in _SIGNS_END:
            return digit
    while digit > end and (text[digit - 1] in _BEFORE_DIGITS or text[digit - 1].isspace()):
        digit -= 1
    if digit > end and text[digit - 1] in _SIGNS_END:
        word = max(end, digit - len("negative"))
        return word if text[word:digit].lower().endswith(("minus", "negative")) else digit
    return digit


def _is_negative(match: re.Match[str], text: str, previous: int) -> bool:
    if match["inner"]:
        return True
    sign = match["sign"]
    if not sign:
        near = text[max(0, match.start() - 2) : match.start()]
        return near in ("- ", "− ") and _is_all(match, text)
    if sign[0].isalpha():  # "10 minus 4" is a sum; "it is minus 4" is a number
        between = text[previous : match.start()]
        return not (previous and between.isspace() and sign[0] in "mM")
    return sign[0] in _MINUS


def _is_all(match: re.Match[str], text: str) -> bool:
    """Say whether "- 5" is the whole text: in a longer one it would be the bullet of a list."""
    before = text[: match.start()].strip()
    return before in ("-", "−") and not text[match.end() :].strip(" .\n")


def _value(match: re.Match[str], *, decimal_comma: bool) -> Fraction | None:
    if match["run"]:
        return _decimal(match, decimal_comma=decimal_comma)
    if match["spaced"]:
        return _spaced(match, decimal_comma=decimal_comma)
    if match["power"] or match["raised"]:
        return _power_of_ten(match["power"] or match["raised"].translate(_SUPERSCRIPTS))
    if match["vulgar"]:
        part = Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10)
        return int(match["before"] or 0) + part
    over, _, under = (match["mixed"] or f"{match['over']}/{match['under']}").partition("/")
    if int(under) == 0 or int(over) % int(under) == 0 or (match["and"] and int(over) > int(under)):
        return None
    return int(match["whole"] or 0) + Fraction(int(over), int(under))


def _spaced(match: re.Match[str], *, decimal_comma: bool) -> Fraction | None:
    """Read groups of three with spaces between, where they cannot be several numbers."""
    spaced = match["spaced"]
    is_all = match.string.strip(" \n.$€£¥₹*") == spaced
    if not (decimal_comma or is_all or " 0" in spaced or _is_stated(match)):
        return None
    plain = spaced.replace(" ", "").replace(*(",", ".") if decimal_comma else (" ", ""))
    return None if "," in plain else Fraction(plain)


def _is_stated(match: re.Match[str]) -> bool:
    """Say whether a sentence comes to just this: "The answer is 12 345.".

    Three groups and more ("is 1 234 567 euros") are one number whatever follows.
    """
    begins = _STATING.search(match.string, max(0, match.start() - 12), match.start())
    return begins is not None and (
        match["spaced"].count(" ") > 1 or _SENTENCE_END.match(match.string, match.end()) is not None
    )


def _decimal(match: re.Match[str], *, decimal_comma: bool) -> Fraction | None:
    run: str = match["run"]
    if match.lastgroup == "run" and run.isdecimal() and len(run) <= _MOST_DIGITS:
        return Fraction(int(run))  # the common case: nothing but digits
    if not run.isdecimal() and not (_COMMA if decimal_comma else _ENGLISH).fullmatch(run):
        return None
    if len(run) > _MOST_DIGITS:
        return None
    whole, _, decimals = run.partition("," if decimal_comma else ".")
    digits = whole if whole.isdecimal() else _NO_DIGITS.sub("", whole)
    number = int(digits + decimals)
    # Without a denominator, the common case, Fraction is twice as fast.
    value = Fraction(number, 10 ** len(decimals)) if decimals else Fraction(number)
    exponent = match["e"] or match["ten"] or (match["super"] or "").translate(_SUPERSCRIPTS)
    if exponent:
        factor = _power_of_ten(exponent)
        if factor is None:
            return None
        value *= factor
    return _magnified(value, match)


def _magnified(value: Fraction, match: re.Match[str]) -> Fraction | None:
    magnitude = match["magnitude"] or match["short"]
    if magnitude is None:
        return value
    if match["short"] and magnitude != "k" and not (match["money"] and magnitude.isascii()):
        return None  # 300K may be degrees, 5M metres, bytes or millions
    return value * _MAGNITUDES[magnitude.lower()]


def _power_of_ten(exponent: str) -> Fraction | None:
    power = int(exponent.replace("−", "-"))
    if abs(power) > _LARGEST_EXPONENT:
        return None
    return Fraction(10) ** power


def _plain_fraction(match: re.Match[str]) -> str:
    before, over, under, digit_over, digit_under = match.groups()
    space = f"{before} " if before else ""
    return f"{space}{over or digit_over}/{under or digit_under}"
