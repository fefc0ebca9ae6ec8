"""A llama.cpp server in a child process, for measuring a model the way it is used."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

SLOTS: Final = 4
CONTEXT: Final = 512


@contextmanager
def served(model: Path) -> Iterator[str]:
    """Yield the base address of a server for the model; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(str(model), theirs), daemon=True)
    child.start()
    if not ours.poll(60):
        child.terminate()
        raise RuntimeError(f"no server for {model.name} within 60 s")
    try:
        yield str(ours.recv())
    finally:
        ours.send("stop")
        child.join(5)
        child.kill()


def _serve(model: str, pipe: Connection) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = CONTEXT * SLOTS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.port = 0
    server = xllamacpp.Server(params)
    pipe.send(server.listening_address)
    pipe.recv()
