"""`llama-orch devices` and `estimate`: what the machine has, and what a model would take of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pytest_llmeval.commands.llama_orch.common import AsJson, say_json
from pytest_llmeval.commands.saying import say
from pytest_llmeval.errors import ModelFileError, OrchestratorError

if TYPE_CHECKING:
    from pytest_llmeval.machine.known_devices import KnownDevices
    from pytest_llmeval.machine.sizing import GpuLayers

Executable = Annotated[
    str, typer.Option(metavar="PATH", help="The llama-server whose devices are meant.")
]


def devices(executable: Executable = "llama-server", as_json: AsJson = False) -> None:
    """List what models can be computed on, with what is free, and how a config names it.

    llama-server is asked anew. Exit status 1 when it cannot be asked.
    """
    from pytest_llmeval.machine.devices import suggest
    from pytest_llmeval.orchestrator.machine_words import device_lines, devices_json
    from pytest_llmeval.orchestrator.sight import look, usable

    sight = look(executable, os.environ, _known_devices().ask_now)
    if sight.trouble:
        raise OrchestratorError(
            f"{sight.trouble}. Name a llama-server with --executable PATH; for the CPU alone, "
            "`server: {engine: embedded}` in a config needs none"
        )
    suggested = suggest(usable(sight.devices), 0)
    if as_json:
        say_json(devices_json(sight, suggested))
        return
    for line in device_lines(sight, suggested):
        say(line)


def estimate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A GGUF.")],
    context: Annotated[
        int, typer.Option(min=1, metavar="TOKENS", help="Context of each slot.")
    ] = 4096,
    slots: Annotated[int, typer.Option(min=1, metavar="N", help="Requests at a time.")] = 1,
    gpu_layers: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Layers on a device; else all, where there is one."),
    ] = None,
    executable: Executable = "llama-server",
    as_json: AsJson = False,
) -> None:
    """Estimate the memory for a model's weights and cache, and whether it is free.

    Only the file's header is read, and nothing is loaded.
    """
    from pytest_llmeval.machine.devices import suggest_several
    from pytest_llmeval.orchestrator.admission import judge_on
    from pytest_llmeval.orchestrator.estimates import estimate_model
    from pytest_llmeval.orchestrator.machine_words import Outlook, outlook_json, outlook_lines
    from pytest_llmeval.orchestrator.sight import look, usable
    from pytest_llmeval.servers.gguf import read_gguf

    header = read_gguf(model)
    if header.is_adapter:
        raise ModelFileError(f"{model}: is a LoRA adapter and no model")
    sight = look(executable, os.environ, _known_devices().of)
    there = usable(sight.devices)
    layers = _layers(gpu_layers, has_device=bool(there))
    found = estimate_model(header, slots=slots, context=context, gpu_layers=layers)
    need = found.total.vram
    on = suggest_several(there, need) if need else ()
    admission = judge_on(on, found, sight.ram)
    outlook = Outlook(model, header, found, layers, on, admission, sight.trouble)
    if as_json:
        say_json(outlook_json(outlook))
        return
    for line in outlook_lines(outlook):
        say(line)


def _layers(given: str | None, *, has_device: bool) -> GpuLayers:
    if given == "all" or (given is None and has_device):
        return "all"
    if given is None:
        return 0
    if given.isdecimal():
        return int(given)
    raise typer.BadParameter(
        f"expected a number of layers from 0, or all, found {given!r}", param_hint="--gpu-layers"
    )


def _known_devices() -> KnownDevices:
    from pytest_llmeval.machine.known_devices import KnownDevices
    from pytest_llmeval.orchestrator.home import cache_folder

    return KnownDevices(cache_folder())
