"""What the answers to preflight's probes show. Pure decisions: each makes a check of replies.

They are made for weak models too. What a model fails to do shows nothing about its endpoint: then
the verdict is `unknown`, and `lacking` only where the endpoint itself has shown it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath

from pytest_llmeval.errors import EngineError
from pytest_llmeval.records import Answer, Check, CheckName, CheckVerdict, Likelihood, Request

from . import probes


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of an endpoint before it is asked anything; None and () are what is not.

    `name` is that of the model which requests carry, where the user wrote one, and `served` those
    that the endpoint lists. `weights` is the file it is to have loaded, `loaded` the one it says it
    has, `digest` that of its bytes. `context` is what it says of its context, in tokens, and
    `context_asked` what the user wrote. `adapters` are those that its server has said are active.
    `leaves_out_cached` says that its counts leave out the tokens which its prompt cache held.
    """

    name: str | None = None
    served: tuple[str, ...] = ()
    weights: str | None = None
    loaded: str | None = None
    digest: str | None = None
    context: int | None = None
    context_asked: int | None = None
    adapters: tuple[str, ...] = ()
    leaves_out_cached: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a probe: an answer, likelihoods, an error, or nothing within `late` seconds."""

    request: Request
    answer: Answer | None = None
    likelihoods: tuple[Likelihood, ...] = ()
    error: EngineError | None = None
    late: float | None = None

    @property
    def prompt(self) -> int | None:
        """How many prompt tokens the endpoint has counted."""
        return _counted(self.answer, "prompt")

    @property
    def completion(self) -> int | None:
        """How many tokens of the answer the endpoint has counted."""
        return _counted(self.answer, "completion")

    @property
    def text(self) -> str:
        """The answer's text, "" without one."""
        return self.answer.text if self.answer is not None else ""


def _counted(answer: Answer | None, which: str) -> int | None:
    if answer is None or answer.usage.source != "server":
        return None
    count: int | None = getattr(answer.usage, which)
    return count


def _check(name: CheckName, verdict: CheckVerdict, found: str, reply: Reply | None = None) -> Check:
    if reply is None:
        return Check(name, verdict, found)
    return Check(name, verdict, found, probes.request_words(reply.request), _words(reply))


def _words(reply: Reply) -> str:
    if reply.answer is not None:
        return probes.answer_words(reply.answer)
    if reply.likelihoods:
        return ", ".join(f"{each.continuation!r} {each.total:.4g}" for each in reply.likelihoods)
    if reply.error is not None:
        return probes.shortened(str(reply.error))
    return f"nothing within {reply.late:g} s"


def _unanswered(name: CheckName, reply: Reply) -> Check | None:
    """What a probe without an answer shows: a refusal shows a lack, any other trouble nothing."""
    if reply.error is not None:
        if reply.error.retryable:
            return _check(name, "unknown", f"no answer: {reply.error.reason}", reply)
        return _check(name, "lacking", "it is refused", reply)
    if reply.late is not None:
        return _check(name, "unknown", f"no answer within {reply.late:g} s", reply)
    return None


# What every suite rests on ------------------------------------------------------------------------


def alive(plain: Reply) -> Check:
    """Whether the plainest request is answered."""
    return _unanswered("alive", plain) or _check("alive", "ok", "it answers", plain)


def model(subject: Subject) -> Check:
    """Whether the model that answers is the one that was meant."""
    if subject.weights is not None and subject.loaded is not None:
        wanted, loaded = _file_name(subject.weights), _file_name(subject.loaded)
        if wanted != loaded:
            return _check("model", "lacking", f"it has loaded {subject.loaded}, not {wanted}")
        sha256 = f", sha256 {subject.digest[:12]}…" if subject.digest else ""
        return _check("model", "ok", f"it has loaded {wanted}{sha256}")
    names = ", ".join(subject.served)
    if subject.name is not None and subject.served:
        if not any(_alike(subject.name, served) for served in subject.served):
            return _check(
                "model", "lacking", f"the endpoint serves {names}, and no model {subject.name}"
            )
        return _check("model", "ok", f"it serves {subject.name}")
    told = f"it serves {names}; the config names none" if names else "it does not say which"
    return _check("model", "unknown", told)


def _file_name(path: str) -> str:
    return PureWindowsPath(path).name  # which splits at both kinds of slashes


def _alike(wanted: str, served: str) -> bool:
    """Whether a name is that of a served model, or a part of it, as `mistral` is of
    `models/Mistral-7B-Q4_K_M.gguf`.
    """
    one, other = (_file_name(name).casefold().removesuffix(".gguf") for name in (wanted, served))
    return one in other or other in one


def adapters(subject: Subject) -> Check:
    """Which adapters are active: a server that has not all of them is refused before."""
    active = ", ".join(subject.adapters)
    return _check("adapters", "ok", f"its server has said that they are active: {active}")


def context(subject: Subject, reply: Reply | None) -> Check:
    """Whether the context is what was asked for, and a prompt beyond it refused.

    `reply` is that to a prompt of more words than the context has tokens, None where there is none.
    """
    size, asked = subject.context, subject.context_asked
    if size is None:
        return _check("context", "unknown", "the endpoint does not say how large its context is")
    if asked is not None and size < asked:
        return _check("context", "lacking", f"{size:,} tokens a slot, and {asked:,} were asked for")
    if reply is None:
        return _check("context", "unknown", f"{size:,} tokens, too many to try what is longer")
    return _beyond_context(size, reply)


def _beyond_context(size: int, reply: Reply) -> Check:
    if reply.error is not None and not reply.error.retryable:
        return _check("context", "ok", f"{size:,} tokens; what is longer is refused", reply)
    if reply.answer is None:
        return _unanswered("context", reply) or _check("context", "unknown", "no answer", reply)
    if reply.prompt is not None and reply.prompt > size:
        return _check("context", "ok", f"it has room for more than {size:,} tokens", reply)
    found = f"a prompt longer than its {size:,} tokens is cut short in silence"
    return _check("context", "lacking", found, reply)


def usage(subject: Subject, plain: Reply, longer: Reply) -> Check:
    """Whether tokens are counted, and the count of the prompt grows with the prompt."""
    if plain.prompt is None or plain.completion is None:
        return _check("usage", "lacking", "the endpoint counts no tokens", plain)
    if plain.prompt < 1 or (plain.text and plain.completion < 1):
        return _check("usage", "lacking", "its counts of tokens cannot be true", plain)
    if longer.answer is None:
        return _unanswered("usage", longer) or _check("usage", "unknown", "no answer", longer)
    if _rise(plain, longer) < probes.LEAST_RISE:
        if subject.leaves_out_cached:
            return _check("usage", "unknown", _LEFT_OUT, longer)
        found = f"its count of prompt tokens does not grow with the prompt ({plain.prompt} before)"
        return _check("usage", "lacking", found, longer)
    return _check("usage", "ok", "prompt and answer are counted", plain)


def template(subject: Subject, plain: Reply, asked: Reply, counts: Check) -> Check:
    """Whether every message of a conversation reaches the model."""
    what = "an earlier message of a conversation"
    return _reaches_the_model("template", subject, plain, asked, counts, what)


def system(subject: Subject, plain: Reply, asked: Reply, counts: Check) -> Check:
    """Whether a system message reaches the model."""
    return _reaches_the_model("system", subject, plain, asked, counts, "a system message")


def _reaches_the_model(
    name: CheckName, subject: Subject, plain: Reply, asked: Reply, counts: Check, what: str
) -> Check:
    """Whether a prompt with something more in it has more tokens, where `counts` can be trusted."""
    missing = _unanswered(name, asked)
    if missing is not None:
        return missing
    if counts.verdict != "ok":
        return _check(name, "unknown", "it would show in counts of tokens", asked)
    if _rise(plain, asked) < probes.LEAST_RISE:
        if subject.leaves_out_cached:
            return _check(name, "unknown", _LEFT_OUT, asked)
        found = f"{what} does not reach the model ({plain.prompt} prompt tokens without)"
        return _check(name, "lacking", found, asked)
    return _check(name, "ok", f"{what} reaches the model ({plain.prompt} tokens without)", asked)


_LEFT_OUT = "its counts leave out what its prompt cache held, which may be what was added"


def _rise(before: Reply, after: Reply) -> int:
    return (after.prompt or 0) - (before.prompt or 0)


def max_tokens(cut: Reply) -> Check:
    """Whether an answer is no longer than it may be."""
    if cut.answer is None:  # some want room for more than one token
        return _check("max_tokens", "unknown", "room for one token brought no answer", cut)
    if cut.answer.reasoning is not None:
        return _check("max_tokens", "unknown", "its reasoning is counted too, or is not", cut)
    # Some count the token that ends an answer, some do not; a token is at most a few words.
    written, words = cut.completion, len(cut.text.split())
    if (written or 0) > 2 or words > 8:
        return _check("max_tokens", "lacking", "an answer is longer than max_tokens", cut)
    if written is None:
        return _check("max_tokens", "unknown", "it would show in counts of tokens", cut)
    return _check("max_tokens", "ok", "max_tokens is obeyed", cut)


def truncation(plain: Reply, cut: Reply) -> Check:
    """Whether an answer that was cut off says so."""
    if cut.answer is None:
        return _check("truncation", "unknown", "room for one token brought no answer", cut)
    if cut.answer.finish_reason == "length":
        return _check("truncation", "ok", "an answer that was cut off says so", cut)
    if cut.text != plain.text and plain.text.startswith(cut.text):
        found = "an answer that was cut off is passed off as a finished one"
        return _check("truncation", "lacking", found, cut)
    return _check("truncation", "unknown", "no answer was cut off", cut)


def reasoning(replies: Sequence[Reply], tag_in: Callable[[str], str]) -> Check:
    """Whether reasoning is kept out of the answers' texts; `tag_in` gives the first tag in one."""
    answered = [reply for reply in replies if reply.answer is not None and reply.text]
    for reply in answered:
        tag = tag_in(reply.text)
        if tag:
            return _check("reasoning", "lacking", f"{tag} stands in the text of an answer", reply)
    if not answered:
        return _check("reasoning", "unknown", "no answer had a text")
    return _check("reasoning", "ok", "no answer holds tags of reasoning", answered[0])


# What some suites need ----------------------------------------------------------------------------


def stop(plain: Reply, asked: Reply) -> Check:
    """Whether the plain answer ends before a piece of it that is made a stop string."""
    missing = _unanswered("stop", asked)
    if missing is not None:
        return missing
    piece = asked.request.sampling.stop[0]
    if piece in asked.text:
        return _check("stop", "lacking", "an answer goes on after a stop string", asked)
    if not plain.text.startswith(asked.text):
        return _check("stop", "unknown", "the same question was answered otherwise", asked)
    return _check("stop", "ok", "an answer ends before a stop string", asked)


def no_stop(plain: Reply) -> Check:
    """What is said where the plain answer has no piece to stop at."""
    return _check("stop", "unknown", "an answer was too short to be stopped", plain)


def seed(replies: Sequence[Reply]) -> Check:
    """Whether a seed decides what is written: the same one the same, and others something else."""
    written: dict[int | None, tuple[str, str]] = {}
    for reply in replies:
        missing = _unanswered("seed", reply)
        if missing is not None:
            return missing
        before = written.setdefault(reply.request.sampling.seed, _written(reply))
        if _written(reply) != before:
            found = f"one seed gave two answers, at first {probes.shortened(before[0])!r}"
            return _check("seed", "lacking", found, reply)
    if len(set(written.values())) == 1:
        return _check("seed", "unknown", "all seeds gave one answer", replies[-1])
    return _check("seed", "ok", "one seed gives one answer, and others give others", replies[-1])


def _written(reply: Reply) -> tuple[str, str]:
    return reply.text, (reply.answer.reasoning or "") if reply.answer is not None else ""


def json_schema(reply: Reply) -> Check:
    """Whether an answer is held to a schema that only one object obeys."""
    return _held("json_schema", "a JSON Schema", reply, json.dumps({"checked": probes.WORD}))


def grammar(reply: Reply) -> Check:
    """Whether an answer is held to a grammar that only one word obeys."""
    return _held("grammar", "a grammar", reply, probes.WORD)


def _held(name: CheckName, what: str, reply: Reply, only: str) -> Check:
    missing = _unanswered(name, reply)
    if missing is not None:
        return missing
    text, wanted = ("".join(each.split()) for each in (reply.text, only))
    if text == wanted:
        return _check(name, "ok", f"an answer is held to {what}", reply)
    if wanted.startswith(text) and reply.answer and reply.answer.finish_reason == "length":
        return _check(name, "unknown", "the answer was cut off before it was complete", reply)
    return _check(name, "lacking", f"an answer is not held to {what}", reply)


def logprobs(reply: Reply) -> Check:
    """Whether the log probability of every token is there, and is one."""
    missing = _unanswered("logprobs", reply)
    if missing is not None:
        return missing
    tokens = reply.answer.logprobs if reply.answer is not None else ()
    if not tokens:
        return _check("logprobs", "lacking", "an answer has no log probabilities", reply)
    values = [token.logprob for token in tokens]
    values += [value for token in tokens for _, value in token.top]
    if not all(map(_is_logprob, values)):
        return _check("logprobs", "lacking", "log probabilities are no numbers up to 0", reply)
    if not any(token.top for token in tokens):
        return _check("logprobs", "lacking", "the alternatives to a token are missing", reply)
    return _check("logprobs", "ok", "every token has its log probability", reply)


def likelihoods(reply: Reply) -> Check:
    """Whether texts have likelihoods, and different texts different ones."""
    missing = _unanswered("likelihoods", reply)
    if missing is not None:
        return missing
    found = reply.likelihoods
    values = [value for each in found for value in each.token_logprobs]
    if len(found) != len(reply.request.continuations) or not all(map(_is_logprob, values)):
        return _check("likelihoods", "lacking", "likelihoods are no numbers up to 0", reply)
    if len({each.total for each in found}) == 1:
        return _check("likelihoods", "lacking", "two texts are equally likely", reply)
    return _check("likelihoods", "ok", "texts have likelihoods of their own", reply)


def _is_logprob(value: object) -> bool:
    return isinstance(value, float | int) and math.isfinite(value) and value <= 1e-3


def tools(asked: Reply, without: Reply | None) -> Check:
    """Whether a tool reaches the model and its call comes back as one.

    `without` is the reply to the same request without tools, where nothing was called.
    """
    missing = _unanswered("tools", asked)
    if missing is not None or asked.answer is None:
        return missing or _check("tools", "unknown", "no answer", asked)
    return _check("tools", *_called(asked, asked.answer, without), asked)


def _called(asked: Reply, answer: Answer, without: Reply | None) -> tuple[CheckVerdict, str]:
    if any(c.name == probes.CALL and c.arguments is not None for c in answer.tool_calls):
        return "ok", "a call of a tool comes back as one"
    if answer.finish_reason == "length":
        return "unknown", "the answer was cut off before a call was whole"
    if answer.tool_calls or answer.finish_reason == "tool_calls":
        return "lacking", "a call of a tool comes back broken"
    if '"name"' in asked.text and probes.CALL in asked.text:
        return "lacking", "a call of a tool is left in the text"
    counted = without is not None and without.prompt is not None and asked.prompt is not None
    if without is not None and counted and _rise(without, asked) <= 0:
        return "lacking", f"tools do not reach the model ({without.prompt} prompt tokens without)"
    return "unknown", "the model called nothing, which may be its weakness"
