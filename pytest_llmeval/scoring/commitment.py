r"""Which option a text commits itself to.

In this order:

1. the whole text is one option: "B", "(b)", "B.", "Paris", "B) Paris";
2. the last commitment: an option after an anchor ("the answer is", "I choose", "it is", \boxed{}),
   before one ("B is correct"), or a label that opens a line or stands alone on it;
3. else the last option mentioned ("the last letter"), which more text might still have replaced.

Denied options ("not A", "A is wrong", "rather than A", "the wrong answer is A") are no mentions.
Options that stand side by side undecided ("A or B", "A and C", "A B") commit to nothing, and a last
commitment of that kind takes an earlier one back. "It is", "that is" and "this is" begin many a
remark: such a commitment gives way to an earlier one of another kind, unless second thoughts
("Wait", "Actually", "No") stand between. The last option mentioned is none where all options were
mentioned, or where it follows another one immediately. The options listed one after the other, each
with its text, are the question repeated, not an answer. A commitment at the very end of a text that
was cut off is open still, unless it is the whole text. In case of doubt nothing is found: that is
no answer rather than a wrong one, and never a right one by luck.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from pytest_llmeval.scoring.anchors import ANCHOR_WORDS, anchor_before
from pytest_llmeval.scoring.extraction import Finding
from pytest_llmeval.scoring.mentions import Mention, mentions_in
from pytest_llmeval.scoring.triggers import lower, starts_of

Group = list[Mention]

_CONFIRMED = re.compile(
    r"""[\s"'”’*)\].,:]{0,4} (?:is|was|seems|looks|must\s+be|would\s+be|appears)\s+
        (?:\w+\s+){0,2}? (?:correct|right|best|true|answer)\b""",
    re.IGNORECASE | re.VERBOSE,
)
#: How far before an option words that deny it are looked for.
_WINDOW = 60
#: Without one of these in front nothing is denied ("not " is in "cannot " too).
_DENYING = (
    "not ", "not\n", "nor ", "nor\n", "no longer", "n't", "n’t", "never", "neither", "rather",
    "instead", "except", "unlike", "eliminat", "rul", "exclud", "discard", "reject", "wrong",
    "incorrect", "false", "worst", "least",
)  # fmt: skip
_DENIED_BEFORE = re.compile(
    r"""(?: \b(?:not|never|neither|nor|cannot|rather\s+than|instead\s+of|except|unlike|no\s+longer)
        | n['’]t | \b(?:eliminat|rul|exclud|discard|reject)\w*(?:\s+out)? )
        \s+ (?: (?:be|is|options?|choices?|answers?|both|the|either|letter|likely|probably)\s+ )*
        ["'“‘(\[*]* \Z
      | n['’]t\s+(?:think|believe|be)\b [^.,;:\n]{0,40} \Z
      | \b(?:wrong|incorrect|false|worst|least\s+\w+)
        (?: \s+(?:answer|option|choice|one|letter)s? )?
        (?: \s+(?:to|for|here|of)\b [^.:\n]{0,24}? )?
        (?: \s*: | \s+(?:is|are|was|would\s+be)\b ) [\s"'“‘(\[*]*
        (?: (?:option|choice|answer|letter|the)s?\s+ )* ["'“‘(\[]* \Z""",
    re.IGNORECASE | re.VERBOSE,
)
_DENIED_AFTER = re.compile(
    r"""[\s"'”’*)\]]* (?:
        (?:is|are|was|were|would\s+be|seems?|looks?|must\s+be|can\s+be)\s+
          (?:(?:\w+ly|also|both|all|just|simply)\s+)*
          (?:not\b|wrong|incorrect|false|out\b|impossible|eliminated|ruled\s+out|excluded|invalid)
      | (?:is|are|was|were|does|do|can|could|wo|would)n['’]t\b | can['’]t\b | cannot\b
      | (?:does|do|can|could|would)\s+not\b )""",
    re.IGNORECASE | re.VERBOSE,
)
_SIDE_BY_SIDE = re.compile(
    r"""["'”’)\].*]* \s* (?: , \s* (?:and|or|nor)? | / | & | and(?:/or)? | or | nor )
        \s* (?:(?:possibly|maybe|perhaps|also|even|option|choice|answer|the)\s+)* ["'“‘(\[*]*""",
    re.IGNORECASE | re.VERBOSE,
)
_ASKED = re.compile(r"[\"'”’)\]]*\?")
_NEXT_TO = re.compile(r"[\s,;./|*-]*")
_SECOND_THOUGHTS = re.compile(
    r"\b(?:wait|hold\s+on|actually|correction|sorry|no|wrong|incorrect|mistake)\b", re.IGNORECASE
)
_ALONE = re.compile(r"[\s\"'“”‘’*.,:;!()\[\]]*")
_LINE_LABEL_END = re.compile(r"\s*(?:[.:)\]]|\n|\Z)")
_FIRST_LABEL_END = re.compile(r",|\s+(?:because|since|as)\b|\s[-–—]\s")
_ENDS_HERE = re.compile(r"[\"'”’)\]}*]*\s*(?:\Z|[\n.,;:!?<}])")
_MARKUP = str.maketrans(dict.fromkeys("*`_$", " "))
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_SPACES = re.compile(r"[ \t\u00a0]{2,}|[\t\u00a0]")
#: Where none of these is, every space is a single one.
_GAPS = ("  ", "\t", "\u00a0")


def committed_option(
    text: str, labels: Sequence[str], texts: Sequence[str] = ()
) -> Finding[str] | None:
    """Find the label of the option that a text commits itself to; None when to none.

    `texts` are the options' own words in the order of `labels`, where they are known.
    """
    text = _plain(text)
    mentions = mentions_in(text, labels, texts)
    if not mentions:
        return None
    whole = _whole(text, mentions)
    if whole is not None:
        return _finding(text, whole, "the whole text", committed=True)
    standing: list[Group] = []
    denied: list[Group] = []
    denying = starts_of(text, _DENYING)
    for group in _groups(text, mentions):
        (denied if _is_denied(text, group, denying) else standing).append(group)
    repeated = _repeated_question(text, mentions, labels)
    anchors = starts_of(text, ANCHOR_WORDS)
    chosen = _last_commitment(text, standing, denied, anchors, repeated)
    if chosen is not None:
        group, how = chosen
        ended = group[-1].end < len(text.rstrip())
        return _finding(text, group[-1], how, committed=ended) if _is_one(group) else None
    loose = [group for group in standing if group[-1].sure and group[-1] not in repeated]
    if not loose or not _is_one(loose[-1]) or _taken_back(loose[-1], denied):
        return None
    if _is_listing(text, loose, labels):
        return None
    return _finding(text, loose[-1][-1], "last option mentioned", committed=False)


def _last_commitment(
    text: str,
    standing: Sequence[Group],
    denied: Sequence[Group],
    anchors: Sequence[int],
    repeated: set[Mention],
) -> tuple[Group, str] | None:
    """The last commitment that is not taken back; one after "it is" only where no other counts."""
    weak: tuple[Group, str] | None = None
    for group in reversed(standing):
        how, is_weak = _how_committed(text, group, anchors, repeated)
        if not how or _taken_back(group, denied):
            continue
        if weak is not None and _SECOND_THOUGHTS.search(text, group[-1].end, weak[0][0].start):
            return weak
        if not is_weak:
            return group, how
        weak = weak or (group, how)
    return weak


def _is_listing(text: str, loose: Sequence[Group], labels: Sequence[str]) -> bool:
    """Say whether loose mentions only list options: all of them, different ones in a row, or
    several of which the last is a question ("A? B?").
    """
    mentions = [mention for group in loose for mention in group]
    different = len({mention.label for mention in mentions})
    if different > 1 and (different == len(labels) or _ASKED.match(text, mentions[-1].end)):
        return True
    *_, before, last = [None, *mentions]
    return (
        before is not None
        and before.label != last.label
        and _NEXT_TO.fullmatch(text, before.end, last.start) is not None
    )


def _plain(text: str) -> str:
    if "\\" in text:
        text = _LATEX_TEXT.sub(r"\1", text)
    if any(mark in text for mark in "*`_$"):
        text = text.translate(_MARKUP)
    return _SPACES.sub(" ", text) if any(gap in text for gap in _GAPS) else text


def _finding(text: str, mention: Mention, how: str, *, committed: bool) -> Finding[str]:
    shown = text[mention.start : mention.end].strip()
    return Finding(mention.label, shown, how, committed)


def _whole(text: str, mentions: Sequence[Mention]) -> Mention | None:
    """The mention that the text consists of; where a label and other words disagree, the label."""
    first = mentions[0]
    if len(mentions) == 1 or (len(mentions) == 2 and not first.own_words and first.sure):
        rest = _ALONE.sub("", lower(text[: first.start] + text[mentions[-1].end :]))
        between = _ALONE.sub("", text[first.end : mentions[-1].start])
        if not rest and not between and (len(mentions) == 1 or mentions[1].own_words):
            return first
    return None


def _groups(text: str, mentions: Sequence[Mention]) -> list[Group]:
    """Put options that stand side by side ("A, B or C") into one group each."""
    groups: list[Group] = []
    for mention in mentions:
        if groups and _are_together(text, groups[-1][-1], mention):
            groups[-1].append(mention)
        else:
            groups.append([mention])
    return groups


def _are_together(text: str, one: Mention, other: Mention) -> bool:
    if _SIDE_BY_SIDE.fullmatch(text, one.end, other.start):
        return True
    same_kind = (one.labelled, one.own_words) == (other.labelled, other.own_words)
    return same_kind and one.label != other.label and text[one.end : other.start] == " "


def _is_one(group: Group) -> bool:
    return len({mention.label for mention in group}) == 1


def _is_denied(text: str, group: Group, denying: Sequence[int]) -> bool:
    """Say whether a group is denied; `denying` are the places of words that may do so."""
    start, end = group[0].start, group[-1].end
    window = max(0, start - _WINDOW)
    near = bisect_left(denying, start) > bisect_left(denying, window)
    if near and _DENIED_BEFORE.search(text, window, start):
        return True
    return _DENIED_AFTER.match(text, end) is not None


def _taken_back(group: Group, denied: Sequence[Group]) -> bool:
    """Say whether an option is denied further on: "The answer is A. No, A is wrong."."""
    label, end = group[-1].label, group[-1].end
    return any(
        mention.label == label and mention.start > end for other in denied for mention in other
    )


def _repeated_question(
    text: str, mentions: Sequence[Mention], labels: Sequence[str]
) -> set[Mention]:
    """The mentions that only repeat the list of options: two or more labels, each with a text, or
    all of them in order, each alone on its line.
    """
    listed = {
        mention
        for mention in mentions
        if mention.sure
        and (
            (mention.own_words and mention.labelled)
            or (_opens_line(text, mention) and not _ends_line(text, mention))
        )
    }
    if len({mention.label for mention in listed}) > 1:
        return listed
    alone = [m for m in mentions if m.labelled and _opens_line(text, m) and _ends_line(text, m)]
    return set(alone) if [mention.label for mention in alone] == list(labels) else set()


def _how_committed(
    text: str, group: Group, anchors: Sequence[int], repeated: set[Mention]
) -> tuple[str, bool]:
    """Say how a group is a commitment, "" when it is none, and whether only by a weak anchor."""
    first, last = group[0], group[-1]
    if first.sure or _ENDS_HERE.match(text, first.end):
        anchor = anchor_before(text, first.start, anchors)
        if anchor is not None:
            return f"after {' '.join(anchor[0].split())!r}", anchor["weak"] is not None
    if not last.sure:
        return "", False
    confirmed = _CONFIRMED.match(text, last.end)
    if confirmed:
        return f"before {' '.join(confirmed[0].split())!r}", False
    if last in repeated:
        return "", False
    if last.labelled and _opens_line(text, last):
        return "a label that opens its line", False
    return ("a last sentence of its own" if _is_last_sentence(text, group) else ""), False


def _is_last_sentence(text: str, group: Group) -> bool:
    """Say whether an option is all that the last sentence says, after another one."""
    before = text[max(0, group[0].start - 16) : group[0].start].rstrip(" \"'“‘([")
    is_last = _ALONE.fullmatch(text, group[-1].end) is not None
    return is_last and before.endswith((".", "!", "?"))


def _opens_line(text: str, mention: Mention) -> bool:
    """Say whether a label stands first on its line, marked as a label or alone."""
    line = text.rfind("\n", 0, mention.start) + 1
    if text[line : mention.start].strip(" \"'“‘>-•#"):
        return False
    return (
        text[mention.start] in "(["
        or text[mention.end - 1] in ")]"
        or mention.own_words
        or _LINE_LABEL_END.match(text, mention.end) is not None
        or (line == 0 and _FIRST_LABEL_END.match(text, mention.end) is not None)
    )


def _ends_line(text: str, mention: Mention) -> bool:
    end = text.find("\n", mention.end)
    rest = text[mention.end : end if end >= 0 else len(text)]
    return not rest.strip(" .:;,!\"'”’")
