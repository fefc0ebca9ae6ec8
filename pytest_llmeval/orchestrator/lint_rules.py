"""What `llama-orch config lint` looks for in each instance. Pure: all facts come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pytest_llmeval.orchestrator.admission import in_words, judge
from pytest_llmeval.orchestrator.config import GpuConfig
from pytest_llmeval.orchestrator.configs import LoadedInstance, fingerprint
from pytest_llmeval.orchestrator.findings import Finding, Severity, about
from pytest_llmeval.orchestrator.lint_facts import Facts, Machine
from pytest_llmeval.orchestrator.sight import Sight, devices_of

Rule = Callable[[LoadedInstance, Facts, Machine], Iterator[Finding]]
FREE_TO_ALL = 1024
"""From this port on, any user may listen; below, most systems let only root."""

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""What `gpu.device_id` is for."""

KEYS = {
    "-t": "model.threads", "--threads": "model.threads",
    "-b": "model.batch_size", "--batch-size": "model.batch_size",
    "-ub": "model.ubatch_size", "--ubatch-size": "model.ubatch_size",
    "--embedding": "model.embeddings", "--embeddings": "model.embeddings",
    "-dev": "gpu.device_id", "--device": "gpu.device_id",
    "-to": "server.timeout", "--timeout": "server.timeout",
}  # fmt: skip
"""Arguments of the server that have a key here; those that more relies on are refused
(`consistency.OURS`)."""


def model_is_there(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """It exists, is a GGUF, is whole, and a model."""
    keys = ("model", "path")
    if facts.model_problem is not None:
        yield about(instance, keys, "error", "model", facts.model_problem)
    elif facts.header is not None and facts.header.is_adapter:
        message = f"{instance.config.model.path}: is a LoRA adapter to a model, and no model"
        way_out = "Name the model with model.path, and the adapter in args: [--lora, FILE]"
        yield about(instance, keys, "error", "model", message, way_out)


def program_is_there(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """What serves the model can be started."""
    if facts.program_problem is not None:
        yield about(instance, ("server", "executable"), "error", "program", facts.program_problem)


def host_is_this_machine_s(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """It can listen at its address."""
    if facts.host_problem is not None:
        message = f"nobody can listen at {instance.config.server.host!r}: {facts.host_problem}"
        way_out = "Set server.host to an address of this machine, such as 127.0.0.1"
        yield about(instance, ("server", "host"), "error", "host", message, way_out)


def port_can_be_had(instance: LoadedInstance, facts: Facts, machine: Machine) -> Iterator[Finding]:
    """Nobody else listens on it, and we may."""
    keys, port = ("server", "port"), instance.config.server.port
    if facts.port_holder is not None:
        message = f"port {port} is taken by {facts.port_holder}"
        way_out = "Stop that, or set server.port to another number or to auto"
        yield about(instance, keys, "error", "port", message, way_out)
    elif port != "auto" and port < FREE_TO_ALL and machine.system != "win32":
        message = f"port {port} is below {FREE_TO_ALL}, where most systems let only root listen"
        way_out = "Set server.port to a higher number or to auto"
        yield about(instance, keys, "warning", "port", message, way_out)


def log_can_be_written(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """Its server's output has a place to go."""
    if facts.log_problem is not None:
        message = f"no log can be written: {facts.log_problem}"
        way_out = "Make it writable, or name another folder with log.folder"
        yield about(instance, ("log", "folder"), "error", "log", message, way_out)


def context_is_the_model_s(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """A slot has no more than the model was trained for, unless the arguments stretch it."""
    trained = facts.header.context_length if facts.header else None
    model, slots = instance.config.model, instance.config.server.parallel
    stretched = any(argument.startswith(("--rope", "--yarn")) for argument in instance.config.args)
    context = model.context(trained)
    if trained is not None and context > trained and not stretched:
        each = f" in each of {slots} slots" if slots > 1 else ""
        message = (
            f"{context:,} tokens of context{each}, and the model was trained for "
            f"{trained:,}: llama-server gives no more, so that it would not come up"
        )
        way_out = f"Set model.context_size to {trained} or less, or stretch it with args"
        yield about(instance, ("model", "context_size"), "error", "context", message, way_out)


def embeddings_fit_the_model(
    instance: LoadedInstance, facts: Facts, _: Machine
) -> Iterator[Finding]:
    """Embeddings are asked of a model made for them, and nothing else is."""
    keys, wanted = ("model", "embeddings"), instance.config.model.embeddings
    if facts.header is None or facts.header.pools == wanted:
        return
    if wanted:
        message = "embeddings: true, but the model does not say how it pools: it was made to write"
        way_out = "Use a model made for embeddings, or say how: args: [--pooling, mean]"
        if "--pooling" not in instance.config.args:
            yield about(instance, keys, "warning", "embeddings", message, way_out)
    else:
        message = "the model was made for embeddings, and would be served as one that writes"
        yield about(instance, keys, "warning", "embeddings", message, "Set embeddings: true")


def key_is_set(instance: LoadedInstance, _: Facts, machine: Machine) -> Iterator[Finding]:
    """The variable that is to hold the key holds one."""
    name = instance.config.server.api_key_env
    known = {**machine.environment, **instance.config.env}
    if name is not None and not known.get(name):
        state = "empty" if name in known else "not set"
        message = f"the variable {name}, which is to hold the key, is {state} here"
        way_out = "It must be set where the daemon is started, else the instance does not start"
        yield about(instance, ("server", "api_key_env"), "warning", "key", message, way_out)


def backend_is_the_system_s(
    instance: LoadedInstance, _: Facts, machine: Machine
) -> Iterator[Finding]:
    """Metal is macOS's, and macOS has neither CUDA nor ROCm."""
    backend, is_mac = instance.config.gpu.backend, machine.system == "darwin"
    if (backend == "metal") != is_mac and (backend == "metal" or backend in {"cuda", "rocm"}):
        message = f"there is no {backend} on {'macOS' if is_mac else 'this system'}"
        way_out = f"Set gpu.backend to {'metal' if is_mac else 'cuda, vulkan or rocm'}, or to cpu"
        yield about(instance, ("gpu", "backend"), "error", "backend", message, way_out)


def device_is_there(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """llama-server lists the device that it is to compute on."""
    gpu, sight = instance.config.gpu, facts.sight
    if sight is None or not _lacks_device(gpu, sight):
        return
    listed = ", ".join(device.name for device in sight.devices) or "none"
    number = "" if gpu.device_id is None else f" {gpu.device_id}"
    message = f"llama-server lists no {gpu.backend} device{number}: it has {listed}"
    way_out = "Set gpu to one that it lists, or name a llama-server that was built for it"
    yield about(instance, ("gpu", "backend"), "error", "backend", message, way_out)


def _lacks_device(gpu: GpuConfig, sight: Sight) -> bool:
    on_device = gpu.backend != "cpu" and not sight.trouble
    return on_device and not devices_of(gpu, sight.devices)


def memory_is_enough(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """It fits into what is free; one that runs has its memory already."""
    if facts.estimate is None or facts.sight is None or facts.runs:
        return
    if _lacks_device(instance.config.gpu, facts.sight):
        return  # which is told, and of what is not there nobody can tell what it has free
    admission = judge(instance.config, facts.estimate, facts.sight)
    if admission.verdict != "fits":
        severity: Severity = "note" if admission.verdict == "unknown" else "warning"
        message = in_words(admission, facts.estimate)
        yield about(instance, ("model",), severity, "memory", message)


def health_is_asked_in_time(instance: LoadedInstance, _: Facts, __: Machine) -> Iterator[Finding]:
    """One question has its answer before the next is asked."""
    check = instance.config.healthcheck
    if check.timeout > check.interval:
        message = (
            f"healthcheck.timeout of {check.timeout:g} s is more than the interval of "
            f"{check.interval:g} s: the next check waits for it"
        )
        yield about(instance, ("healthcheck", "timeout"), "note", "healthcheck", message)


def variables_are_meant(instance: LoadedInstance, _: Facts, __: Machine) -> Iterator[Finding]:
    """Nothing is written as a variable where it stays as it is, nor set that is set by us."""
    config = instance.config
    for name, value in config.env.items():
        if "${" in value:
            message = f"env: {name} stays as it is written: variables are replaced in paths only"
            way_out = "Set it where the daemon is started: every server has its environment too"
            yield about(instance, ("env", name), "warning", "variables", message, way_out)
        if name in DEVICE_VARIABLES and config.gpu.device_id is not None:
            message = f"env: {name} and gpu.device_id both say which GPU"
            yield about(instance, ("env", name), "warning", "variables", message, "Leave one out")
    for number, argument in enumerate(config.args):
        if "${" in argument:
            message = f"args: {argument!r} stays as it is: variables are replaced in paths only"
            yield about(instance, ("args", number), "warning", "variables", message)


def arguments_have_no_key(instance: LoadedInstance, _: Facts, __: Machine) -> Iterator[Finding]:
    """What a key says is said by that key, so that checks and overviews know it, too."""
    for number, argument in enumerate(instance.config.args):
        name = argument.partition("=")[0]
        if name in KEYS:
            message = f"args: {name} wins over {KEYS[name]}, and is not seen here"
            way_out = f"Set {KEYS[name]}, and leave {name} out"
            yield about(instance, ("args", number), "warning", "arguments", message, way_out)


def config_is_what_runs(instance: LoadedInstance, facts: Facts, _: Machine) -> Iterator[Finding]:
    """A running server keeps what it was started with."""
    if facts.started_with not in {None, fingerprint(instance.config)}:
        message = "the config has changed since the instance was started, which runs as it was"
        way_out = f"Take it over with: llama-orch restart {instance.name}"
        yield about(instance, (), "note", "changed", message, way_out)


RULES: tuple[Rule, ...] = (
    model_is_there,
    program_is_there,
    host_is_this_machine_s,
    port_can_be_had,
    log_can_be_written,
    context_is_the_model_s,
    embeddings_fit_the_model,
    key_is_set,
    backend_is_the_system_s,
    device_is_there,
    memory_is_enough,
    health_is_asked_in_time,
    variables_are_meant,
    arguments_have_no_key,
    config_is_what_runs,
)
