"""The reference for likelihoods: all logits of the model, in process, by llama-cpp-python.

    python benchmarks/likelihood_reference.py FOLDER MODEL exact|usual < requests > likelihoods

A process of its own: `FOLDER` holds an unpacked wheel of llama-cpp-python, which nobody else should
load. Reads JSON lines {prompt, messages, continuations} (`prompt` for a text that is continued,
`messages` for a chat) and writes JSON lines, the token log probabilities of each continuation.
Nothing of what is measured is used here: template, tokens, logits and softmax are its own.
`usual` computes attention as llama.cpp's server does by default, flash attention and a cache of 16
bits, `exact` in 32 bits.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

CONTEXT = 1024

#: ggml's numbers of these types.
F32, F16 = 0, 1


def main(folder: str, model: str, attention: str) -> None:
    """Answer each line of standard input."""
    sys.path.insert(0, folder)
    import jinja2
    import llama_cpp

    llama = llama_cpp.Llama(
        model,
        logits_all=True,
        n_ctx=CONTEXT,
        n_threads=1,
        n_threads_batch=1,
        flash_attn=attention == "usual",
        type_k=F16 if attention == "usual" else F32,
        type_v=F16 if attention == "usual" else F32,
        verbose=False,
    )
    template = jinja2.Template(llama.metadata["tokenizer.chat_template"])
    for line in sys.stdin:
        asked = json.loads(line)
        prompt = asked["prompt"] or template.render(
            messages=asked["messages"], add_generation_prompt=True
        )
        found = [logprobs(llama, prompt, text) for text in asked["continuations"]]
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def logprobs(llama: Any, prompt: str, continuation: str) -> list[float]:
    """The log probability of each of a continuation's tokens, in nats."""
    context, whole = (tokens(llama, text) for text in (prompt, prompt + continuation))
    assert whole[: len(context)] == context, "no token of these texts reaches across"
    llama.reset()
    llama.eval(whole)
    logits = np.array(llama.scores[len(context) - 1 : len(whole) - 1], dtype=np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(logits).sum(axis=1))
    wanted = whole[len(context) :]
    return [
        float(row[token] - total) for row, token, total in zip(logits, wanted, sums, strict=True)
    ]


def tokens(llama: Any, text: str) -> list[int]:
    """A text's tokens, with what the model puts before a prompt."""
    found: list[int] = llama.tokenize(text.encode("utf-8"), add_bos=True, special=True)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
