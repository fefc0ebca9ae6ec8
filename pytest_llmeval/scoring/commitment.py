r"""Which option a text commits itself to.

In this order:

1. the whole text is one option: "B", "(b)", "B.", "Paris", "B) Paris";
2. the last commitment: an option after an anchor ("the answer is", "I choose", "it is", \boxed{}),
   before one ("B is correct"), or a label that opens a line or stands alone on it;
3. else the last option mentioned ("the last letter"), which more text might still have replaced.

Denied options ("not A", "A is wrong", "B over A", "people choose A", "the wrong answer is A") are
no mentions, nor is what only a remark begins with ("A is not in Asia"), which denies nothing.
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
from collections.abc import Sequence

from pytest_llmeval.scoring.anchors import anchor_before
from pytest_llmeval.scoring.denials import is_denied, is_left_behind, is_remark
from pytest_llmeval.scoring.extraction import Finding
from pytest_llmeval.scoring.mentions import Mention, mentions_in
from pytest_llmeval.scoring.text import composed
from pytest_llmeval.scoring.triggers import lower

Group = list[Mention]

_CONFIRMED = re.compile(
    r"""[\s"'”’*)\].,:]{0,4} (?:is|was|must\s+be|would\s+be|(?P<weak>seems|looks|appears))\s+
        (?:\w+\s+){0,2}? (?:correct|right|best|better|true|answer)\b
      | [ ]?[:–—-]\s*(?:yes|correct|right)(?=\s*(?:[.,;!)\n]|\Z)) | [ ]?[✓✔✅]""",
    re.IGNORECASE | re.VERBOSE,
)
#: What makes "A looks right" say nothing: "although" before it, or "but" behind it.
_CONCEDED = re.compile(r"\b(?:although|though|while|even\s+if)\b[^.;!?\n]*\Z", re.IGNORECASE)
_BUT = re.compile(r"[^.;!?\n]{0,60}?\b(?:but|however|yet)\b", re.IGNORECASE)
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
_LINE_ENDS = re.compile(r"[ .:;,!\"'”’]*(?:\n|\Z)")
#: How many spaces, quotes and bullets stand before a label that opens its line, at most.
_MOST_MARKS = 60
_FIRST_LABEL_END = re.compile(r",|\s+(?:because|since|as)\b|\s[-–—]\s")
_ENDS_HERE = re.compile(r"[\"'”’)\]}*]*\s*(?:\Z|[\n.,;:!?<}])")
_MARKUP = str.maketrans(dict.fromkeys("*`_$", " "))
#: "Ｂ", as it is typed among Chinese and Japanese characters.
_FULL_WIDTH: dict[int, int | str] = {
    0x3002: ".",
    **{wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)},
}
_STRUCK = re.compile(r"~~[^~\n]+~~")
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
    if _only_lists(text, mentions):
        return None
    repeated = _repeated_question(text, mentions, labels)
    loose: list[Group] = []
    chosen = _last_commitment(text, _groups(text, mentions), repeated, loose)
    if chosen is not None:
        group, how = chosen
        ended = group[-1].end < len(text.rstrip())
        return _finding(text, group[-1], how, committed=ended) if _is_one(group) else None
    if not loose or not _is_one(loose[-1]) or _is_listing(text, loose, labels):
        return None
    return _finding(text, loose[-1][-1], "last option mentioned", committed=False)


def _last_commitment(
    text: str, groups: Sequence[Group], repeated: set[Mention], loose: list[Group]
) -> tuple[Group, str] | None:
    """The last commitment that is not taken back; one after "it is" only where no other counts.

    Most texts end with it: groups are judged from the last one on, no more of them than it takes.
    Where there is none, `loose` receives the groups that stand, unless the last one is taken back.
    """
    weak: tuple[Group, str] | None = None
    denied: set[str] = set()
    found: list[tuple[Group, bool]] = []
    for before, group in zip([None, *groups[:-1]][::-1], groups[::-1], strict=True):
        start, end = group[0].start, group[-1].end
        left = before is not None and is_left_behind(text, before[-1].end, start)
        if left or is_denied(text, start, end):
            denied.update(mention.label for mention in group)
        elif _is_joined(group[-1]) or not is_remark(text, end):
            taken_back = group[-1].label in denied
            if group[-1].sure and group[-1] not in repeated:
                found.append((group, taken_back))
            how, is_weak = _how_committed(text, group, repeated)
            if not how or taken_back:
                continue
            if weak and _SECOND_THOUGHTS.search(text, group[-1].end, weak[0][0].start):
                return weak
            if not is_weak:
                return group, how
            weak = weak or (group, how)
    if found and not found[0][1]:
        loose.extend(group for group, _ in reversed(found))
    return weak


def _is_joined(mention: Mention) -> bool:
    """Say whether it is a label with its text: "D. Bern is not ..." chooses D and explains."""
    return mention.labelled and mention.own_words


def _only_lists(text: str, mentions: Sequence[Mention]) -> bool:
    """Say whether a text is nothing but several options: "A. B.", or one on each line.

    After options with their texts, which is the question repeated, a last one is a choice.
    """
    if any(map(_is_joined, mentions)) or len({mention.label for mention in mentions}) < 2:
        return False
    ends = [0, *(mention.end for mention in mentions)]
    starts = [*(mention.start for mention in mentions), len(text)]
    return all(_ALONE.fullmatch(text, *gap) for gap in zip(ends, starts, strict=True))


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
    if not text.isascii():
        text = composed(text).translate(_FULL_WIDTH)
    if "~~" in text:
        text = _STRUCK.sub(" ", text)
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
    if one.label == other.label:
        return False
    if _SIDE_BY_SIDE.fullmatch(text, one.end, other.start):
        return True
    same_kind = (one.labelled, one.own_words) == (other.labelled, other.own_words)
    return same_kind and text[one.end : other.start] == " "


def _is_one(group: Group) -> bool:
    return len({mention.label for mention in group}) == 1


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
        and (_is_joined(mention) or (_opens_line(text, mention) and not _ends_line(text, mention)))
    }
    if len({mention.label for mention in listed}) > 1:
        return listed
    alone = [m for m in mentions if m.labelled and _opens_line(text, m) and _ends_line(text, m)]
    return set(alone) if [mention.label for mention in alone] == list(labels) else set()


def _how_committed(text: str, group: Group, repeated: set[Mention]) -> tuple[str, bool]:
    """Say how a group is a commitment, "" when it is none, and whether only by a weak anchor."""
    first, last = group[0], group[-1]
    if first.sure or _ENDS_HERE.match(text, first.end):
        anchor = anchor_before(text, first.start)
        if anchor is not None and (not anchor["no"] or _ENDS_HERE.match(text, last.end)):
            return f"after {' '.join(anchor[0].split())!r}", anchor["weak"] is not None
    by_place = not (last.labelled or last.own_words)
    if not (last.sure or by_place):
        return "", False
    confirmed = _CONFIRMED.match(text, last.end)
    if confirmed and not _is_conceded(text, first.start, confirmed):
        return f"before {' '.join(confirmed[0].split())!r}", confirmed["weak"] is not None
    if last in repeated:
        return "", False
    if last.labelled and _opens_line(text, last):
        return "a label that opens its line", False
    return ("a last sentence of its own" if _is_last_sentence(text, group) else ""), False


def _is_conceded(text: str, start: int, confirmed: re.Match[str]) -> bool:
    """Say whether "A looks right" is only granted: after "although", or before "but"."""
    if not confirmed["weak"]:
        return False
    before = _CONCEDED.search(text, max(0, start - 60), start)
    return before is not None or _BUT.match(text, confirmed.end()) is not None


def _is_last_sentence(text: str, group: Group) -> bool:
    """Say whether an option is all that the last sentence says, after another one."""
    before = text[max(0, group[0].start - 16) : group[0].start].rstrip(" \"'“‘([")
    is_last = _ALONE.fullmatch(text, group[-1].end) is not None
    return is_last and before.endswith((".", "!", "?"))


def _opens_line(text: str, mention: Mention) -> bool:
    """Say whether a label stands first on its line, marked as a label or alone."""
    near = max(0, mention.start - _MOST_MARKS)
    line = text.rfind("\n", near, mention.start) + 1
    if (near and not line) or text[line : mention.start].strip(" \"'“‘>-•#"):
        return False
    return (
        text[mention.start] in "(["
        or text[mention.end - 1] in ")]"
        or mention.own_words
        or _LINE_LABEL_END.match(text, mention.end) is not None
        or (line == 0 and _FIRST_LABEL_END.match(text, mention.end) is not None)
    )


def _ends_line(text: str, mention: Mention) -> bool:
    return _LINE_ENDS.match(text, mention.end) is not None
