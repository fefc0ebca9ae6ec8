"""A llama-server in one Python process: xllamacpp behind llama-server's flags.

`python -m pytest_llmeval.servers.embedded -m FILE --port PORT` serves one model until it gets
SIGTERM (Windows: Ctrl-Break), then ends with 0; a model it cannot load ends it with 1 and one line.
One server per process, since two in one process hang when they are let go.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

POOLING = ("none", "mean", "cls", "last", "rank")
"""What llama-server's flag of that name takes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve one model; the exit status."""
    options = build_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may have letters that cp1252 has not
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if options.lifeline:
        threading.Thread(target=end_with_input, daemon=True).start()
    try:
        server = load(options)
    except RuntimeError as error:
        say(f"cannot serve {' with '.join([options.model, *options.lora])}: {error}")
        return 1
    end_on_signals()
    say(f"listening on {server.listening_address}")
    while True:  # in slices, since on Windows nothing else wakes a sleeping main thread
        time.sleep(0.5)


def build_parser() -> argparse.ArgumentParser:
    """The flags of llama-server that we pass, and the lifeline."""
    parser = argparse.ArgumentParser(
        prog="embedded", description="Serve one GGUF with xllamacpp.", allow_abbrev=False
    )
    parser.add_argument("-m", "--model", required=True, metavar="FILE")
    parser.add_argument("-a", "--alias", metavar="NAMES", help="separated by commas")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("-np", "--parallel", type=int, default=1, metavar="SLOTS")
    parser.add_argument("-c", "--ctx-size", type=int, default=0, help="tokens, of all slots")
    parser.add_argument("-ngl", "--gpu-layers", type=int, metavar="N")
    parser.add_argument("-t", "--threads", type=int, metavar="N")
    parser.add_argument("--lora", action="append", default=[], metavar="FILES", help="as CSV")
    parser.add_argument("--embeddings", action="store_true", help="give embeddings too")
    parser.add_argument("--pooling", choices=POOLING, help="of tokens' embeddings to a text's")
    parser.add_argument("-b", "--batch-size", type=int, metavar="TOKENS")
    parser.add_argument("-ub", "--ubatch-size", type=int, metavar="TOKENS")
    parser.add_argument("-to", "--timeout", type=int, metavar="SECONDS", help="of a request")
    parser.add_argument("--metrics", action="store_true", help="open /metrics")
    parser.add_argument(
        "--lifeline", action="store_true", help="end when standard input ends: our starter is gone"
    )
    return parser


def load(options: argparse.Namespace) -> Any:
    """Load the model and serve it; back when it is healthy.

    Raises RuntimeError, always with the same words: the reason is in what llama.cpp has logged.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.hostnames = [options.host]
    params.port = options.port
    params.n_parallel = options.parallel
    params.n_ctx = options.ctx_size
    if options.alias is not None:
        params.model_alias = set(options.alias.split(","))
    if options.gpu_layers is not None:
        params.n_gpu_layers = options.gpu_layers
    if options.threads is not None:
        params.cpuparams.n_threads = options.threads
    params.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(path, 1.0)
        for files in options.lora
        for path in next(csv.reader([files]))
    ]
    set_batches(params, options)
    set_embeddings(params, options)
    set_interface(params, options, os.environ)
    return xllamacpp.Server(params)


def set_embeddings(params: Any, options: argparse.Namespace) -> None:
    """Set what is only of use for embeddings."""
    import xllamacpp

    params.embedding = options.embeddings
    if options.pooling is not None:
        name = f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"
        params.pooling_type = getattr(xllamacpp.llama_pooling_type, name)


def set_batches(params: Any, options: argparse.Namespace) -> None:
    """Set how many tokens are computed at once."""
    if options.batch_size is not None:
        params.n_batch = options.batch_size
    if options.ubatch_size is not None:
        params.n_ubatch = options.ubatch_size


def set_interface(params: Any, options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Set how it is spoken to; the key comes from the variable from which llama-server has it."""
    if options.timeout is not None:
        params.timeout_read = params.timeout_write = options.timeout
    params.endpoint_metrics = options.metrics
    if environ.get("LLAMA_API_KEY"):
        params.api_keys = environ["LLAMA_API_KEY"].split(",")


def say(words: str) -> None:
    """Write a line to the log in one piece: llama.cpp writes to it from a thread of its own."""
    sys.stdout.write(f"embedded: {words}\n")
    sys.stdout.flush()


def end_on_signals() -> None:
    """End with 0 when asked to.

    Not before the model is loaded: xllamacpp holds the interpreter until then, so that a handler
    would have to wait, while the system's own default ends us at once.
    """
    signal.signal(getattr(signal, "SIGBREAK", signal.SIGTERM), lambda *_: end())
    signal.signal(signal.SIGTERM, lambda *_: end())


def end_with_input() -> None:
    """End when standard input does."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    end()


def end(status: int = 0) -> NoReturn:
    """End at once: nothing here is worth saving, and letting go of a busy server may hang."""
    os._exit(status)


if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
