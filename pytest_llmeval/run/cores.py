"""How the processor's cores are divided between servers that compute at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_llmeval.inputs.models import ModelConfig
from pytest_llmeval.run.in_process import ENGINE as IN_PROCESS


def threads_of(
    models: Mapping[str, ModelConfig], turns: Iterable[Sequence[str]], cores: int
) -> dict[str, int | None]:
    """The threads of each model's processes, None where the server chooses or is not ours.

    llama.cpp takes every core, and its threads wait for each other by spinning. Two servers that do
    so on the same cores wait for threads that do not run, and are tens of times slower than with
    half the threads each. A model that has a turn to itself is left alone, as is one with `threads`
    of its own.
    """
    found = {name: model.threads for name, model in models.items()}
    for turn in turns:
        computing = [models[name] for name in turn if _computes(models[name])]
        for model in computing:
            if len(computing) > 1 and model.threads is None:
                processes = sum(map(_processes, computing))
                found[model.name] = max(1, cores // processes)
    return found


def _computes(model: ModelConfig) -> bool:
    """Whether it is a process of ours, and not all of the model lies on a GPU."""
    return model.gguf is not None and model.url is None and model.gpu_layers != "all"


def _processes(model: ModelConfig) -> int:
    return model.slots if model.engine == IN_PROCESS else 1
