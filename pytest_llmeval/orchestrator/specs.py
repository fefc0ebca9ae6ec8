"""From an instance's config to the server that is started for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_llmeval.errors import InstanceConfigError
from pytest_llmeval.machine.devices import Device
from pytest_llmeval.orchestrator.config import HealthcheckConfig, InstanceConfig, RestartConfig
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.sight import devices_of
from pytest_llmeval.servers.command import API_KEYS
from pytest_llmeval.servers.spec import Output, RestartPolicy, ServerSpec
from pytest_llmeval.servers.vitals import HealthPolicy


def server_spec(
    name: str,
    config: InstanceConfig,
    home: Home,
    *,
    environ: Mapping[str, str],
    port: int | None = None,
    devices: Sequence[Device] = (),
    trained: int | None = None,
) -> ServerSpec:
    """The server of an instance whose config was loaded, so that its paths are absolute.

    `environ` is the daemon's: the key is looked up in it. `port` is one that it would like to have
    back where the config leaves it open. `devices` are those that its executable lists, if that is
    known: the one that it is to have is then known by what it is called, too. `trained` is the
    context that the model knows. Raises InstanceConfigError.
    """
    model, server = config.model, config.server
    out, err = log_files(name, log_folder(config, home))
    return ServerSpec(
        name=name,
        kind=server.engine,
        gguf=Path(model.path),
        slots=server.parallel,
        context=model.context(trained),
        log_path=err,
        gpu_layers=config.gpu.layers,
        threads=model.threads,
        executable=server.executable,
        port=port if server.port == "auto" else server.port,
        args=config.args,
        variables=config.env,
        host=server.host,
        restart=restart_policy(config.restart),
        embeddings=model.embeddings,
        aliases=config.aliases,
        batch=model.batch_size,
        ubatch=model.ubatch_size,
        timeout=server.timeout,
        backend=config.gpu.backend,
        device=config.gpu.device_id,
        device_name=device_name(config, devices),
        api_key=api_key(name, config, environ),
        metrics=True,
        health_path=config.healthcheck.path,
        output=Output(out, err, max_bytes=config.log.max_bytes, keep=config.log.keep),
    )


def device_name(config: InstanceConfig, devices: Sequence[Device]) -> str | None:
    """What the device of a config is called; None where it names none, or that is not known."""
    own = () if config.gpu.device_id is None else devices_of(config.gpu, devices)
    return own[0].description if len(own) == 1 else None


def log_folder(config: InstanceConfig, home: Home) -> Path:
    """Where the server's logs go."""
    return home.logs if config.log.folder is None else Path(config.log.folder)


def log_files(name: str, folder: Path) -> tuple[Path, Path]:
    """Where the server's stdout and stderr go, in the folder of its logs."""
    return folder / f"{name}.out.log", folder / f"{name}.err.log"


def restart_policy(config: RestartConfig) -> RestartPolicy:
    """Whether and when it is started again, as the restart engine takes it."""
    return RestartPolicy(
        initial=config.initial,
        multiplier=config.multiplier,
        cap=config.cap,
        jitter=(1 - config.jitter, 1 + config.jitter),
        max_retries=config.max_retries,
        window=config.window,
        reset_after=config.reset_after,
        enabled=config.enabled,
    )


def health_policy(config: HealthcheckConfig) -> HealthPolicy:
    """How often it is asked for its health, and what failures mean."""
    return HealthPolicy(
        interval=config.interval,
        timeout=config.timeout,
        retries=config.retries,
        start_period=config.start_period,
    )


def api_key(name: str, config: InstanceConfig, environ: Mapping[str, str]) -> str | None:
    """The key that requests to the server carry, of the variable that the config names."""
    for given in sorted(API_KEYS & config.env.keys()):
        raise InstanceConfigError(
            f"{name}: env sets {given}, and a config holds no key: put it into a variable of "
            "the environment and name that one with server.api_key_env"
        )
    variable = config.server.api_key_env
    if variable is None:
        return None
    key = {**environ, **config.env}.get(variable)
    if not key:
        state = "empty" if key == "" else "not set"
        raise InstanceConfigError(
            f"{name}: server.api_key_env names the variable {variable}, which is {state} in the "
            "environment of the daemon: set it, and start the daemon again (`llama-orch daemon "
            "stop`, then `llama-orch daemon start`)"
        )
    return key
