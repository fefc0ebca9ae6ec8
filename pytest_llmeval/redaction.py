"""Secrets out of any text, before it is written or shown. Pure.

A secret that is known is taken out by its value, wherever it stands; one that is not known is taken
out where it looks like one. What looks like a setting (`max_tokens=64`, `EOS token = 2`) stays.

What secrets look like stands in `redaction_rules.json`, with examples of what goes and what stays.
Only the standard library is needed, and no other module of ours: a server's guard, which is run by
path, loads this one by path too. `library_rules` adds what detect-secrets knows.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

REDACTED = "[redacted]"

_SHORTEST = 4
"""A known secret shorter than this is left alone: it would take ordinary words apart."""

_SHORTEST_BY_NAME = 8
"""So long is the value of a variable, at least, that is secret by the variable's name alone."""

_HEX = re.compile(r"[0-9a-fA-F-]+")


class Rule(NamedTuple):
    """What a kind of secret looks like, and what takes its place.

    `words` are tried first, in small letters where case does not count: looking for a word is many
    times faster than looking for a shape, and most texts are clean. The pattern is searched in the
    text as it is, in `small` letters, or as a `token`, which is one whole word. The replacement is
    of texts and groups of the pattern, in turns. With an `entropy` (bits a character) what the last
    group has found must be as random as that.
    """

    name: str
    words: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: tuple[str, ...]
    ignores_case: bool
    form: Literal["text", "small", "token"] = "text"
    entropy: float | None = None


@cache
def own_rules() -> tuple[Rule, ...]:
    """The rules of `redaction_rules.json`."""
    path = os.path.join(os.path.dirname(__file__), "redaction_rules.json")  # noqa: PTH118, PTH120
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the guard has no pathlib yet
        return tuple(map(_rule, json.load(file)))


_GROUP = re.compile(r"\\(?:(\d)|g<(\w+)>)")


def _rule(data: Mapping[str, Any]) -> Rule:
    ignores_case, is_token = data.get("ignore_case", False), data.get("token", False)
    before = "(?<![A-Za-z0-9])" if is_token else ""
    replacement = _GROUP.sub("\0\\1\\2\0", data.get("replacement", REDACTED))
    return Rule(
        name=data["name"],
        words=tuple(data["words"]),
        pattern=re.compile(before + data["pattern"]),
        replacement=tuple(replacement.split("\0")),
        ignores_case=ignores_case,
        form="token" if is_token else "small" if ignores_case else "text",
        entropy=data.get("entropy"),
    )


_LIBRARY_WORDS: Mapping[str, tuple[str, ...]] = {
    "AWSKeyDetector": ("aws",),
    "ArtifactoryDetector": ("AKC", "AP"),
    "AzureStorageKeyDetector": ("accountkey=",),
    "CloudantDetector": ("cloudant", "cl_", "clou_"),
    "DiscordBotTokenDetector": (".",),
    "GitHubTokenDetector": ("gh",),
    "GitLabTokenDetector": ("gl", "gr1348941"),
    "IbmCloudIamDetector": ("ibm", "cloud-iam", "cloud_iam", "bx"),
    "IbmCosHmacDetector": ("cos", "hmac"),
    "MailchimpDetector": ("-us",),
    "NpmDetector": ("_authtoken",),
    "OpenAIDetector": ("t3blbkfj",),
    "PypiTokenDetector": ("pypi-",),
    "SendGridDetector": ("sg.",),
    "SlackDetector": ("xox", "slack.com"),
    "SoftlayerDetector": ("softlayer", "sl_", "sl-"),
    "SquareOAuthDetector": ("sq0csp-",),
    "StripeDetector": ("k_live_",),
    "TwilioKeyDetector": ("ac", "sk"),
}
"""Which of detect-secrets' detectors are asked, and what must stand in a text that they can find
anything in. Left out are those that ours do better (private keys, JWT, basic auth: they find where
a secret begins and leave the rest; Telegram), and those that find what is no secret (IP addresses).
"""


@cache
def library_rules() -> tuple[Rule, ...]:
    """The patterns of detect-secrets; importing it takes a tenth of a second."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

    rules: list[Rule] = []
    detector: Any
    for detector in get_mapping_from_secret_type_to_class().values():
        for pattern in getattr(detector, "denylist", ()):
            words = _LIBRARY_WORDS.get(detector.__name__)
            if words is not None:
                name = f"detect-secrets: {detector.secret_type}"
                small = not any(map(str.isupper, "".join(words)))
                rules.append(Rule(name, words, pattern, (REDACTED,), ignores_case=small))
    return tuple(rules)


class Redactor:
    """Takes secrets out of texts.

    `known` are the values of secrets; they are found in JSON, in URLs and in base64 too. With
    `thorough`, what detect-secrets knows is looked for as well. With `as_latin_1` the texts are
    bytes of UTF-8, each of which was read as a character of Latin-1.
    """

    def __init__(
        self, known: Iterable[str] = (), *, thorough: bool = False, as_latin_1: bool = False
    ):
        secrets = [secret for secret in known if len(secret) >= _SHORTEST]
        self._known = _forms(secrets)
        self._within = _forms_within(secrets)
        if as_latin_1:
            self._known = [_bytes(form).decode("latin-1") for form in self._known]
        self._thorough = thorough

    def text(self, text: str) -> str:
        """The text with every secret replaced by `[redacted]`; twice changes nothing more."""
        for form in itertools.chain(self._known, self._within):
            text = text.replace(form, REDACTED)
        text = _without(text, own_rules())
        if self._thorough:
            text = _without(text, library_rules())
        return _without_ends(text, self._known) if _CUT in text else text

    def data(self, value: Any) -> Any:
        """Mappings and sequences as JSON has them, with every text in them redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.data(inner) for key, inner in value.items()}
        return list(map(self.data, value)) if isinstance(value, (list, tuple)) else value


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without secrets; `secrets` are known values."""
    return Redactor(secrets).text(text)


_SOUNDS_SECRET = re.compile(
    r"API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE_?KEY|ACCESS_?KEY",
    re.IGNORECASE,
)
_NAMES_A_PLACE = re.compile(
    r"(?:_|^)(?:PATH|FILE|DIR|HOME|URL|URI|HOST|PARALLELISM)$", re.IGNORECASE
)


def known_secrets(environ: Mapping[str, str], named: Iterable[str] = ()) -> list[str]:
    """The values of the variables that are `named`, and of those whose own names sound secret."""
    names = set(named)
    return [
        value
        for name, value in environ.items()
        if name in names
        or (
            len(value) >= _SHORTEST_BY_NAME
            and _SOUNDS_SECRET.search(name)
            and not _NAMES_A_PLACE.search(name)
        )
    ]


def cleaned(text: str, environ: Mapping[str, str]) -> str:
    """The text without secrets, those of the environment's variables among them."""
    return redact(text, known_secrets(environ))


def shown_error(error: Exception, environ: Mapping[str, str]) -> str:
    """An error's words: what a shell has put into an argument may be a variable's secret value."""
    return cleaned(str(error), environ)


def looks_secret(text: str, *, is_path: bool = False) -> bool:
    """Whether a setting, as somebody has written it, holds what looks like a secret.

    A token has to be a whole word of it, and a path has none: `hf_downloads/x.gguf` is no token of
    Hugging Face. In a text that is shown a word too much may go, but a setting has to be possible.
    """
    rules = [rule for rule in own_rules() if rule.form != "token" and rule.entropy is None]
    if _without(text, rules) != text:
        return True
    tokens = [rule for rule in own_rules() if rule.form == "token"]
    words = [] if is_path else _WORD_ENDS.split(text)
    return any(rule.pattern.fullmatch(word) for rule in tokens for word in words)


# No dot and no slash: they make the words on both sides parts of one name.
_WORD_ENDS = re.compile(r"""[\s"'`=:,;&?@<>(){}\[\]]+""")


# What stands for one character, and ends with a letter that does not belong to the next word.
_STANDS_FOR_ONE = re.compile(
    r"\\(?:[abfnrtv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})|%[0-9a-fA-F]{2}|\[[0-9;]{0,20}m"
)


def _without(text: str, rules: Sequence[Rule]) -> str:
    small, there = _in_small(text), {}
    for rule in rules:
        key = rule.words, rule.ignores_case
        if key not in there:
            searched = small if rule.ignores_case else text
            there[key] = any(word in searched for word in rule.words)
        if there[key]:
            text = _replaced(rule, text)
    return text


def _replaced(rule: Rule, text: str) -> str:
    searched = text
    if rule.form == "small":  # patterns that ignore case take three times as long
        searched = _in_small(text)
    elif rule.form == "token":
        searched = _STANDS_FOR_ONE.sub(lambda found: " " * len(found[0]), text)
    parts, at = [], 0
    for found in rule.pattern.finditer(searched):
        if rule.entropy is None or _is_random(
            _group(found, found.lastindex or 0, text), rule.entropy
        ):
            parts += [text[at : found.start()], _new(rule, found, text)]
            at = found.end()
    return "".join((*parts, text[at:])) if parts else text


def _new(rule: Rule, found: re.Match[str], text: str) -> str:
    texts = (_group(found, name, text) for name in rule.replacement[1::2])
    return "".join(
        itertools.chain(*itertools.zip_longest(rule.replacement[::2], texts, fillvalue=""))
    )


def _group(found: re.Match[str], name: str | int, text: str) -> str:
    """What a group has found, as it stands in the text itself."""
    begin, end = found.span(int(name) if str(name).isdecimal() else name)
    return text[begin:end] if begin >= 0 else ""


_SMALL = {ord(letter): letter.lower() for letter in string.ascii_uppercase}


def _in_small(text: str) -> str:
    """The text in small letters, as long as it is: there are letters that become two."""
    small = text.lower()
    return small if len(small) == len(text) else text.translate(_SMALL)


_CUT = "..."
"""What pytest puts in the place of the middle of a long text."""

_END_OF_A_TOKEN = re.compile(r"(\[redacted\]\.\.\.)[\w+/=-]+")


def _without_ends(text: str, known: Sequence[str]) -> str:
    """The text without the beginnings and ends of secrets whose middle was cut out of it."""
    heads = [form for form in known if form[:_SHORTEST] in text]
    tails = [form for form in known if form[-_SHORTEST:] in text]
    if heads or tails:  # a model that goes round in circles may write nothing but dots
        for found in reversed(list(re.finditer(re.escape(_CUT), text))):
            cut, after = found.span()
            head = max((_head(form, text, cut) for form in heads), default=0)
            tail = max((_tail(form, text, after) for form in tails), default=0)
            if tail:
                text = text[:after] + REDACTED + text[after + tail :]
            if head:
                text = text[: cut - head] + REDACTED + text[cut:]
    return _END_OF_A_TOKEN.sub(r"\1", text)


def _head(secret: str, text: str, place: int) -> int:
    """How many characters of a secret's beginning end at a place of a text; 0 for so few that they
    may be chance, and for the whole.
    """
    begins = _places(secret[:_SHORTEST], text, place - len(secret) + 1, place)
    return next((place - begin for begin in begins if secret.startswith(text[begin:place])), 0)


def _tail(secret: str, text: str, place: int) -> int:
    """The same of a secret's end that begins at a place."""
    begins = _places(secret[-_SHORTEST:], text, place, place + len(secret) - 1)
    ends = [begin + _SHORTEST for begin in begins]
    return next((end - place for end in reversed(ends) if secret.endswith(text[place:end])), 0)


def _places(part: str, text: str, start: int, end: int) -> Iterator[int]:
    """Where a part begins in a stretch of a text, from the left."""
    at = text.find(part, max(start, 0), end)
    while at >= 0:
        yield at
        at = text.find(part, at + 1, end)


def _is_random(value: str, least: float) -> bool:
    """Whether a word is as random as a secret; digests and UUIDs, all of them hex, are none."""
    if _HEX.fullmatch(value) or not re.search(r"\d", value) or not re.search(r"[a-zA-Z]", value):
        return False
    counts = Counter(value).values()
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
    return bits >= least


def _forms(secrets: Sequence[str]) -> list[str]:
    """The ways a secret may be written, the longest first, so that none is left cut in half."""
    forms = {form for secret in secrets for form in _written(secret)}
    forms |= {form for s in secrets for line in _long_lines(s) for form in _written(line)}
    forms |= {base64.b64encode(_bytes(s)).decode().rstrip("=") for s in secrets}
    return sorted(forms, key=_longest_first)


def _written(secret: str) -> Iterator[str]:
    """A secret as it is, as JSON, Python, HTML and shells write it, and as in a URL."""
    yield secret
    yield secret.replace("'", "'\"'\"'")  # in a shell
    for text in {secret, *_in_quotes(secret)}:
        yield from _in_quotes(text)  # a second time: JSON within JSON
    for entities in _ENTITIES:
        yield secret.translate(entities)
    for kept in ("", "/"):
        in_url = quote(secret, safe=kept, errors="surrogateescape")
        for text in (in_url, in_url.replace("%20", "+"), in_url.replace("~", "%7E")):
            yield text
            yield _HEX_OF_URL.sub(lambda found: found[0].lower(), text)


def _in_quotes(text: str) -> set[str]:
    """A text as it stands between quotes in Python and JSON, and in JSON fit for HTML."""
    in_python = {repr(text)[1:-1], ascii(text)[1:-1], repr(_bytes(text))[2:-1]}
    in_python.add(text.replace("\\", "\\\\").replace("'", "\\'"))
    in_json = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    in_json |= {form.replace("/", "\\/") for form in in_json}
    in_json |= {form.translate(escapes) for form in in_json for escapes in _ESCAPED_FOR_HTML}
    in_json |= {_ESCAPE.sub(lambda found: rf"\u{found[1].upper()}", form) for form in in_json}
    return in_python | in_json


def _bytes(text: str) -> bytes:
    """In UTF-8; what of a variable was none stays as it was."""
    return text.encode("utf-8", "surrogateescape")


_HEX_OF_URL = re.compile(r"%[0-9A-F]{2}")
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
_ENTITIES = tuple(
    str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': double, "'": single})
    for double, single in (
        *(("&quot;", "&#x27;"), ("&#34;", "&#39;"), ("&quot;", "&#39;"), ("&quot;", "&#039;")),
        ('"', "'"),
    )
)
_ESCAPED_FOR_HTML = tuple(
    str.maketrans({each: f"\\u{ord(each):04x}" for each in characters})
    for characters in ("&<>", "&<>'")
)


def _long_lines(secret: str) -> Iterator[str]:
    """The lines of a secret that has several, for logs are read line by line.

    The armour of a key is no secret, and other keys are found by it.
    """
    lines = [line.strip() for line in secret.splitlines()]
    for line in lines if len(lines) > 1 else ():
        if len(line) >= _SHORTEST_BY_NAME and not line.startswith("-----"):
            yield line


def _forms_within(secrets: Sequence[str]) -> list[str]:
    """The same for secrets within base64 of a longer text."""
    forms = {form for secret in secrets for form in _inside_base64(_bytes(secret))}
    return sorted(forms, key=_longest_first)


def _longest_first(form: str) -> tuple[int, str]:
    return -len(form), form


def _inside_base64(secret: bytes) -> Iterator[str]:
    """What base64 of a longer text has of a secret in it, such as of `user:secret`.

    Three bytes become four characters, so that there are three ways it may lie in it. Characters
    that it shares with its neighbours are left out.
    """
    for before, shared in enumerate((0, 2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = (before + len(secret)) * 8 // 6
            form = encode(bytes(before) + secret).decode()[shared:whole]
            if len(form) >= _SHORTEST_BY_NAME:
                yield form


PLAIN = Redactor()
"""Knows no secret by its value."""


# In pieces ----------------------------------------------------------------------------------------

LONGEST_LINE = 2**16
"""So much of a line without an end is held back; what is longer is passed on in parts."""

_OVERLAP = 2**12
"""No secret but a private key is longer: so much of a part is looked at again with the next."""

_BLOCK_BEGINS = ("-----BEGIN ", "PuTTY-User-Key-File-")
_BLOCK_OPEN = re.compile(
    r"(?:-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END )[\s\S])*"
    r"|PuTTY-User-Key-File-(?:(?!Private-MAC:)[\s\S])*)\Z"
)


_KEY_WORD = (
    r"(?:key|secret|passw(?:or)?d|passphrase|token|auth|credential|cookie|session|signature)"
    r"\w{0,64}"
)
_VALUE_TO_COME = re.compile(
    rf"""{_KEY_WORD}\\{{0,8}}["']?\s*[:=]\Z|--[\w-]*{_KEY_WORD}["']?,?\Z|\bbearer\Z""",
    re.IGNORECASE,
)
_NAME_OF_A_VALUE = 100
"""So much of a line's end is looked at for the name of a secret."""


class Pieces:
    """Redacts a text that comes in pieces, wherever they are cut.

    A line is given on when it is whole and does not end with the name of a secret, whose value
    would stand in the next; a private key when it has ended: only then is it known what has to go.
    What is held back is bounded.
    """

    def __init__(self, redactor: Redactor):
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take a piece, and give what is safe to pass on by now."""
        self._held += piece
        cut = self._safe_length()
        ready, self._held = self._held[:cut], self._held[cut:]
        if len(self._held) > LONGEST_LINE:
            return self._redactor.text(ready) + self._part_of_it()
        return self._redactor.text(ready) if ready else ""

    def flush(self) -> str:
        """Give what is left: nothing more will come."""
        held, self._held = self._held, ""
        return self._redactor.text(held)

    def _safe_length(self) -> int:
        """Up to where the held text has whole lines and nothing secret that is still open."""
        end = self._held.rfind("\n") + 1
        said = self._held[:end].rstrip()
        if _VALUE_TO_COME.search(said[-_NAME_OF_A_VALUE:]):
            end = said.rfind("\n") + 1
        if any(begin in self._held for begin in _BLOCK_BEGINS):
            opened = _BLOCK_OPEN.search(self._held[:end])
            if opened is not None:
                end = min(end, self._held.rfind("\n", 0, opened.start()) + 1)
        return end

    def _part_of_it(self) -> str:
        """A part of what is too long to be held, cut where no secret is cut with it."""
        whole, opened = self._redactor.text(self._held), _BLOCK_OPEN.search(self._held)
        if opened is None:
            for cut in range(len(self._held) - _OVERLAP, len(self._held) - 2 * _OVERLAP, -256):
                head, rest = self._held[:cut], self._held[cut:]
                if self._redactor.text(head) + self._redactor.text(rest) == whole:
                    self._held = rest
                    return self._redactor.text(head)
        # A private key without an end, or one random word: nobody misses it, and none of it shows.
        begin = 0 if opened is None else opened.start() + 64
        self._held = self._held[:begin] + self._held[-_OVERLAP:]
        return ""
