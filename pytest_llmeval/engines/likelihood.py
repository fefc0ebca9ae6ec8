"""How likely a given text is as a continuation, asked of llama.cpp's server.

The server tells the log probability of every token that it writes, by the model's raw logits: what
forces it to write this token and no other does not show in them. So the text is cut into the
model's tokens and the server is made to write exactly these:

- in one request, by a grammar of token ids (`<[42]> <[7]>`, GBNF's way to name tokens);
- token by token, by a bias, where a server knows no such grammar, or a token is more than a grammar
  of llama.cpp can follow: a part of a character, or one that ends the answer.

Both give the same values, and the ids that come back are held against those that were wanted. A
token that ends in half a character has no probability in an answer: it is then looked up in the
distribution over the whole vocabulary, of which another token is forced.

**Which tokens are the continuation's.** Prompt and continuation are tokenised together, as the
model has seen text in training. What counts is all from the first token on in which any
continuation of the request departs from the prompt alone. Where a token would reach across the
boundary ("Answer: " and "Paris" give " Paris"), that token counts for the continuation, and for all
of them from the same place, so that they stay comparable. Of white space at the prompt's end that
is lm-eval's rule (`_encode_pair`); where lm-eval would cut by count and lose a part of the text,
this does not.

**Cache.** Every request begins with all that was asked before it, so that the continuations of one
prompt share it in the server's prompt cache. Without the cache (`exact: true`) the same is asked,
and computed anew every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from pytest_llmeval.engines.completion import prompt_of
from pytest_llmeval.engines.likelihood_replies import (
    Pair,
    Timings,
    Token,
    alternatives_in,
    checked,
    prompt_in,
    timings_in,
    tokens_in,
    written_in,
)
from pytest_llmeval.engines.reading import read_reply
from pytest_llmeval.errors import BadAnswer, RequestRefused, Unsupported
from pytest_llmeval.records import Likelihood, Request, Usage

Post = Callable[[str, Mapping[str, Any]], Awaitable[bytes]]
"""Posts a body to a path of the server; gives that of a reply with status 200, else raises."""

#: Added to a logit: no other token has a chance beside it.
FORCING = 1000.0

#: So many of the likeliest tokens are asked for first where one must be looked up, then all.
FIRST_LOOK = 1000
ALL_TOKENS = 10_000_000

#: Two texts of one token each, for where another token than the wanted one is to be forced.
PLAIN_TEXTS = ("a", "b")


class LikelihoodAsker:
    """Asks one server. `model` is named in every request, `template_kwargs` go to its chat template
    and `secret` is taken out of what is quoted.

    `knows_token_grammar` is what is believed of it until it refuses one.
    """

    def __init__(
        self,
        post: Post,
        model: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        secret: str | None = None,
    ) -> None:
        self._post = post
        self._secret = secret
        self._named: dict[str, Any] = {} if model is None else {"model": model}
        self._template_kwargs = template_kwargs
        self.knows_token_grammar = True
        self._certainty_is_true = False
        self._plain: tuple[int, ...] = ()

    async def likelihoods(self, request: Request) -> tuple[Likelihood, ...]:
        """The likelihoods of a request's continuations, in their order, one after the other.

        Raises EngineError: what the server refuses, and `Unsupported` for a text without a token
        of its own.
        """
        text = await self._prompt(request)
        texts = [text, *(text + each for each in request.continuations)]
        prompt, *whole = await asyncio.gather(*map(self._tokens, texts))
        start = _common_start(prompt, whole)
        _check_tokens(request.continuations, whole, start)
        return tuple(
            [
                await self._likelihood(each, tokens, start, cache_prompt=request.cache_prompt)
                for each, tokens in zip(request.continuations, whole, strict=True)
            ]
        )

    async def _prompt(self, request: Request) -> str:
        """The prompt as the model is given it."""
        if request.form == "completion":
            return prompt_of(request)
        body: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in request.messages]
        }
        if request.tools:
            body["tools"] = list(request.tools)
        if self._template_kwargs:
            body["chat_template_kwargs"] = dict(self._template_kwargs)
        return prompt_in(await self._ask("/apply-template", body))

    async def _tokens(self, text: str) -> tuple[Token, ...]:
        """A text's tokens, with what the model puts before a prompt."""
        body = {"content": text, "add_special": True, "parse_special": True, "with_pieces": True}
        return tokens_in(await self._ask("/tokenize", body))

    async def _likelihood(
        self, text: str, tokens: Sequence[Token], start: int, *, cache_prompt: bool
    ) -> Likelihood:
        asked = _Asked(cache_prompt)
        ids, wanted = [token.id for token in tokens[:start]], tokens[start:]
        logprobs: list[float] | None = None
        if self.knows_token_grammar and len(wanted) > 1 and all(t.is_text for t in wanted):
            logprobs = await self._at_once(ids, wanted, asked)
        if logprobs is None:
            logprobs = []
            for token in wanted:
                logprobs.append(await self._forced(ids, token.id, asked))
                ids = [*ids, token.id]
        if 0.0 in logprobs:
            place = start + logprobs.index(0.0)
            before = [token.id for token in tokens[:place]]
            await self._check_certainty(before, tokens[place].id, asked)
        return Likelihood(text, tuple(logprobs), asked.usage, asked.service_ms)

    async def _at_once(
        self, prompt: Sequence[int], wanted: Sequence[Token], asked: _Asked
    ) -> list[float] | None:
        """All in one request; None where it did not write what was wanted."""
        grammar = "root ::= " + " ".join(f"<[{token.id}]>" for token in wanted)
        body = asked.body(prompt, n_predict=len(wanted), grammar=grammar)
        try:
            reply = await self._complete(body, asked)
        except RequestRefused as error:
            # Too long a prompt is refused in either way, and then said so.
            self.knows_token_grammar = "parse grammar" not in str(error)
            return None
        written = written_in(reply)
        if [token for token, _ in written] != [token.id for token in wanted]:
            return None
        return [checked(logprob, token) for token, logprob in written]

    async def _forced(self, prompt: Sequence[int], token: int, asked: _Asked) -> float:
        """One token, by a bias that leaves no other a chance."""
        body = asked.body(prompt, n_predict=1, logit_bias=[[token, FORCING]])
        written = written_in(await self._complete(body, asked))
        if not written:
            return await self._looked_up(prompt, token, asked)
        if [each for each, _ in written] != [token]:
            raise BadAnswer(
                f"The server was made to write the token {token} and wrote {written[0][0]}: what "
                f"it says of likelihoods cannot be used."
            )
        return checked(written[0][1], token)

    async def _looked_up(self, prompt: Sequence[int], token: int, asked: _Asked) -> float:
        """One token among all that might have come, while another one is forced."""
        for many in (FIRST_LOOK, ALL_TOKENS):
            for each, logprob in await self._alternatives(prompt, token, asked, many):
                if each == token:
                    return checked(logprob, token)
        raise BadAnswer(f"The server says of no place how likely the token {token} is there.")

    async def _check_certainty(self, prompt: Sequence[int], token: int, asked: _Asked) -> None:
        """Refuse a server whose figures are those after forcing, by which every token is certain.

        Large models are certain to the last digit at times; once that is seen to be true, it is
        believed.
        """
        if not self._certainty_is_true:
            found = await self._alternatives(prompt, token, asked, 1)
            if found != [(token, 0)]:
                raise BadAnswer(
                    f"The server says that the token {token} is certain (log probability 0), and "
                    f"not so when it was made to write another: it tells no likelihoods."
                )
            self._certainty_is_true = True

    async def _alternatives(
        self, prompt: Sequence[int], token: int, asked: _Asked, many: int
    ) -> list[Pair]:
        """The likeliest tokens that might stand at a place where another than `token` is forced."""
        if not self._plain:
            found = [await self._tokens(text) for text in PLAIN_TEXTS]
            self._plain = tuple(tokens[-1].id for tokens in found)
        (forced, *_) = (each for each in self._plain if each != token)
        bias = [[forced, FORCING]]
        body = asked.body(prompt, n_predict=1, n_probs=many, logit_bias=bias)
        return alternatives_in(await self._complete(body, asked))

    async def _complete(self, body: Mapping[str, Any], asked: _Asked) -> dict[str, Any]:
        reply = await self._ask("/completion", body)
        asked.told.append(timings_in(reply))
        return reply

    async def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return read_reply(await self._post(path, {**self._named, **body}), dict, self._secret)


# What is sent, and what it took -------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """What was asked for one continuation, and what the server says that each request took.

    Nothing is written in earnest: forced tokens count as read, since that is what they are.
    """

    cache_prompt: bool
    told: list[Timings | None] = field(default_factory=list)

    def body(self, prompt: Sequence[int], **more: Any) -> dict[str, Any]:
        """A request to /completion, with the prompt's tokens as they are."""
        return {
            "prompt": list(prompt),
            "n_probs": 1,
            "post_sampling_probs": False,
            "temperature": 0.0,
            "cache_prompt": self.cache_prompt,
            **more,
        }

    @property
    def known(self) -> list[Timings]:
        """What all requests took, empty where one of them did not tell."""
        known = [each for each in self.told if each is not None]
        return known if len(known) == len(self.told) else []

    @property
    def usage(self) -> Usage:
        """Tokens read; none was written."""
        if not self.known:
            return Usage()
        read = sum(each.read + each.written for each in self.known)
        cached = sum(each.cached for each in self.known)
        return Usage(prompt=read, completion=0, cached=cached, source="server")

    @property
    def service_ms(self) -> float | None:
        """How long the server worked, by its own account."""
        return sum(each.ms for each in self.known) if self.known else None


# Tokens -------------------------------------------------------------------------------------------


def _common_start(prompt: Sequence[Token], whole: Sequence[Sequence[Token]]) -> int:
    """How many of the prompt's tokens all of them begin with."""
    return min(
        sum(1 for _ in takewhile(lambda pair: pair[0].id == pair[1].id, zip(prompt, tokens)))  # noqa: B905 - as far as both go
        for tokens in whole
    )


def _check_tokens(texts: Sequence[str], whole: Sequence[Sequence[Token]], start: int) -> None:
    for text, tokens in zip(texts, whole, strict=True):
        if len(tokens) <= start:
            raise Unsupported(
                f"The continuation {text!r} has no token of its own, so it has no likelihood; give "
                f"it a text, or leave it out."
            )
    if not start:
        raise Unsupported(
            "Nothing stands before the first token of the continuation, and this model puts no "
            "token of its own there: how likely it is cannot be asked. Begin the prompt with text."
        )
