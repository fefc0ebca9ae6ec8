"""A model loaded by llama-cpp-python: its tokens, its prompts, and what its context holds.

This runs in a worker's process (`llama_cpp_worker.py`), and nothing else of the package loads the
library. Of its high-level class `Llama` we use what loads, evaluates and samples. What it does to
answers beyond that is done here instead, because it would change them in silence:

- without a chat template in the GGUF it takes the one of Llama 2; here such a chat is refused;
- a JSON schema that it cannot read it replaces by "any JSON"; here it is refused;
- a grammar that llama.cpp cannot parse ends its process; here it is parsed before it is used;
- a token of more than 32 bytes it writes as nothing, and `max_tokens` it overruns by up to three;
- log probabilities it gives only with the logits of the whole context kept (context × vocabulary ×
  4 bytes), and counts them from the wrong place where the prompt has no token for its beginning.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_llmeval.servers.gguf import read_gguf

BATCH = 512
"""Tokens of a prompt that are evaluated at once; between two batches an abandoned one is left."""


class Refused(Exception):
    """A request that is not answered: its text is a complete message.

    `unsupported` says that no such request can be, not just this one.
    """

    def __init__(self, message: str, *, unsupported: bool = False):
        self.unsupported = unsupported
        super().__init__(message)


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class LoadedModel:
    """One `Llama` and the tokens that its context holds. It belongs to one thread.

    `context` is in tokens; more than the model was trained for is not given. Raises ImportError or
    OSError when the library cannot be loaded, ValueError when it cannot load the model.
    """

    def __init__(
        self,
        gguf: Path,
        *,
        context: int,
        gpu_layers: int = 0,
        threads: int | None = None,
    ) -> None:
        import llama_cpp

        trained = read_gguf(gguf).context_length or context
        self.version = str(llama_cpp.__version__)
        self.c = llama_cpp.llama_cpp
        # Flash attention where the backend has it, as llama.cpp's servers do. `Llama` knows on and
        # off only, and off, its default, changed 12 of 2,858 greedy answers of the shipped models.
        self.c.LLAMA_FLASH_ATTN_TYPE_ENABLED = self.c.LLAMA_FLASH_ATTN_TYPE_AUTO
        self.llama = llama_cpp.Llama(
            str(gguf),
            n_ctx=min(context, trained),
            n_batch=BATCH,
            flash_attn=True,
            n_gpu_layers=gpu_layers,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=True,  # its log tells what it loads, and why it cannot
        )
        self.llama.verbose = False  # and nothing of each request
        self.gguf = gguf
        self.context = min(self.llama.n_ctx(), context, trained)
        self.vocabulary = self.c.llama_model_get_vocab(self.llama.model)
        self._size = self.llama.n_vocab()
        self.template: str | None = self.llama.metadata.get("tokenizer.chat_template")
        self._render: Callable[..., Any] | None = None

    # Tokens ---------------------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, without any that mark a beginning or an end."""
        return list(self.llama.tokenize(_utf8(text), add_bos=False, special=True))

    def prompt_tokens(self, text: str) -> list[int]:
        """The tokens of a prompt; Refused when there are none, or no room is left to answer."""
        found = self.begun(text)
        if not found:
            raise Refused("the prompt is empty: there is nothing to continue")
        if len(found) >= self.context:
            raise Refused(
                f"the prompt has {len(found):,} tokens, which exceeds the available context size "
                f"of {self.context:,} tokens"
            )
        return found

    def begun(self, text: str) -> list[int]:
        """The tokens of a text, begun as the model's vocabulary asks for: once, not twice."""
        begins = self.c.llama_vocab_get_add_bos(self.vocabulary)
        first = self._text_of(self.llama.token_bos())
        begun = bool(first) and text.startswith(first)
        return list(self.llama.tokenize(_utf8(text), add_bos=begins and not begun, special=True))

    def piece(self, token: int) -> bytes:
        """The bytes that a token writes; none for one that only controls."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self.c.llama_token_to_piece(self.vocabulary, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length  # what it would have taken

    def ends(self, token: int) -> bool:
        """Whether a token ends the answer."""
        return bool(self.c.llama_vocab_is_eog(self.vocabulary, token))

    def _text_of(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self.c.llama_vocab_get_text(self.vocabulary, token).decode("utf-8", "replace"))

    # Prompts --------------------------------------------------------------------------------------

    def prompt_text(self, request: Mapping[str, Any]) -> str:
        """The text that a request asks to continue. Raises Refused."""
        messages = request["messages"]
        if request["form"] == "completion":
            return "".join(message["content"] for message in messages)
        return self._chat(messages)

    def _chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The messages through the model's own template."""
        if self.template is None:
            raise Refused(
                f"{self.gguf.name} holds no chat template, so that chat cannot be asked of it the "
                "way it was trained; only a raw completion can",
                unsupported=True,
            )
        if self._render is None:
            self._render = self._formatter(self.template)
        try:
            return str(self._render(messages=list(messages)).prompt)
        except Exception as error:  # a template raises whatever it likes
            raise Refused(
                f"the model's chat template refuses these messages: {type(error).__name__}: {error}"
            ) from error

    def _formatter(self, template: str) -> Callable[..., Any]:
        from jinja2 import TemplateError
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        llama = self.llama
        try:
            formatter: Callable[..., Any] = Jinja2ChatFormatter(
                template,
                eos_token=self._text_of(llama.token_eos()),
                bos_token=self._text_of(llama.token_bos()),
            )
        except TemplateError as error:
            raise Refused(
                f"the chat template of {self.gguf.name} cannot be read: {error}", unsupported=True
            ) from error
        return formatter

    def grammar(self, request: Mapping[str, Any]) -> Any:
        """The grammar that a request's answer has to obey, checked; None if it has none."""
        from llama_cpp.llama_grammar import LlamaGrammar, json_schema_to_gbnf

        text, schema = request["grammar"], request["json_schema"]
        if schema is not None:
            try:
                text = json_schema_to_gbnf(json.dumps(schema))
            except Exception as error:  # the library's converter raises of every kind
                raise Refused(
                    "llama-cpp-python cannot make a grammar of this JSON schema: "
                    f"{type(error).__name__}: {error}"
                ) from error
        if text is None:
            return None
        self._parse(text)
        return LlamaGrammar.from_string(text)

    def _parse(self, grammar: str) -> None:
        """Raise Refused for a grammar that llama.cpp would not take, and that would end us."""
        parsed = self.c.llama_sampler_init_grammar(self.vocabulary, _utf8(grammar), b"root")
        if not grammar.strip() or not parsed:
            raise Refused("llama.cpp cannot parse this grammar; it needs a rule called root")
        self.c.llama_sampler_free(parsed)

    # What the context holds -----------------------------------------------------------------------

    def forget(self) -> None:
        """Empty the context, so that the next request finds what the first one found."""
        self.llama.reset()
        memory = self.c.llama_get_memory(self.llama.ctx)
        if memory is not None:
            self.c.llama_memory_clear(memory, True)

    def keep(self, tokens: Sequence[int]) -> int:
        """Keep of the context what these tokens begin with, all but the last of them at most.

        Gives back how many that are.
        """
        held = self.llama.input_ids[: self.llama.n_tokens].tolist()
        same = 0
        for old, new in zip(held, tokens[:-1], strict=False):
            if old != new:
                break
            same += 1
        memory = self.c.llama_get_memory(self.llama.ctx)
        if not same or not self.c.llama_memory_seq_rm(memory, 0, same, -1):
            self.forget()  # a recurrent model cannot give up a part of what it holds
            return 0
        self.llama.n_tokens = same
        return same

    def evaluate(self, tokens: Sequence[int], abandoned: Callable[[], bool]) -> None:
        """Evaluate tokens behind those that the context holds. Raises Abandoned."""
        for start in range(0, len(tokens), BATCH):
            if abandoned():
                raise Abandoned
            self.llama.eval(tokens[start : start + BATCH])

    def evaluate_with_logits(self, tokens: Sequence[int]) -> None:
        """The same for tokens (at most `BATCH`) each of which is asked for its logits."""
        llama, start = self.llama, self.llama.n_tokens
        batch = self.c.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for place, token in enumerate(tokens):
                batch.token[place], batch.pos[place] = token, start + place
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                batch.logits[place] = True
            status = self.c.llama_decode(llama.ctx, batch)
        finally:
            self.c.llama_batch_free(batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        llama.input_ids[start : start + len(tokens)] = tokens
        llama.n_tokens += len(tokens)

    def logits(self, place: int = -1) -> Any:
        """The raw logits at a place of what was evaluated last, in float64; -1 is its end.

        Raises Refused when they are not numbers, which is a fault of weights or build.
        """
        import numpy as np

        found = self.c.llama_get_logits_ith(self.llama.ctx, place)
        logits = np.ctypeslib.as_array(found, shape=(self._size,)).astype(np.float64)
        if np.isnan(logits).any():
            raise Refused("the model gives logits that are no numbers (NaN)")
        return logits


def _utf8(text: str) -> bytes:
    """A text as bytes; Refused for half a surrogate pair, which no tokenizer knows."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused(f"the text cannot be written as UTF-8: {error}") from error
