"""What is to be started for an instance: its config, made a plan, if there is room for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_llmeval.errors import LlmevalError, ModelFileError, ServerStartError
from pytest_llmeval.machine.devices import Device
from pytest_llmeval.machine.known_devices import KnownDevices
from pytest_llmeval.orchestrator.admission import in_words, judge
from pytest_llmeval.orchestrator.config import InstanceConfig
from pytest_llmeval.orchestrator.configs import LoadedInstance, fingerprint, load_instance
from pytest_llmeval.orchestrator.estimates import estimate_instance
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.keep import Policies
from pytest_llmeval.orchestrator.launch import Plan
from pytest_llmeval.orchestrator.sight import Sight, look_for
from pytest_llmeval.orchestrator.specs import health_policy, server_spec
from pytest_llmeval.servers import ports
from pytest_llmeval.servers.gguf import read_gguf


class InstancePlans:
    """The plans of one instance (`keeper.Planner`).

    What it was started with last is remembered: a server that died is started again as it was,
    although its config may have been changed or removed since.
    """

    def __init__(
        self, name: str, home: Home, environ: Mapping[str, str], devices: KnownDevices
    ) -> None:
        self._name = name
        self._home = home
        self._environ = environ
        self._devices = devices
        self._last: LoadedInstance | None = None
        self._stamp: float | None = None  # of the file, when it was looked at last

    def check(self) -> None:
        """Read the config as it is now; raises what is wrong with it."""
        self._plan(self._load(), None)

    def plan(self, *, anew: bool, port: int | None) -> Plan:
        """What to start; raises InstanceConfigError or what else stands in the way.

        That is most of all a lack of memory, where it can be told.
        """
        if anew or self._last is None:
            self._last = self._load()
            self._stamp = _stamp(self._last.path)
        # Asked anew: a card may have been changed, or renamed by its driver, since the last start.
        sight = look_for(self._last.config, self._environ, self._devices.ask_now)
        plan = self._plan(self._last, port, sight.devices)
        return replace(plan, notes=self._find_room(self._last.config, sight))

    def drift(self) -> str | None:
        """What has become of the config since its server was started, told once each time."""
        if self._last is None:
            return None
        stamp = _stamp(self._last.path)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        if stamp is None:
            return (
                f"its config {self._last.path} is gone: it goes on as it was started, until it is "
                "brought down"
            )
        try:
            now = fingerprint(self._load().config)
        except LlmevalError as error:
            return f"its config has been changed and cannot be used: {error}"
        if now == fingerprint(self._last.config):
            return None
        return "its config has been changed: it goes on as it was started, until it is restarted"

    def _find_room(self, config: InstanceConfig, sight: Sight) -> tuple[str, ...]:
        """Notes about the memory that it will take; raises when it surely is not there."""
        estimate = estimate_instance(config, read_gguf(Path(config.model.path)), self._environ)
        admission = judge(config, estimate, sight)
        words = in_words(admission, estimate)
        if admission.verdict == "does_not_fit":
            raise ServerStartError(f"{self._name}: {words}")
        return (words,) if admission.verdict == "unknown" else ()

    def _load(self) -> LoadedInstance:
        return load_instance(self._home, self._name, self._environ)

    def _plan(
        self, loaded: LoadedInstance, port: int | None, devices: Sequence[Device] = ()
    ) -> Plan:
        config = loaded.config
        try:
            if port is not None and not ports.is_free(config.server.host, port):
                port = None
        except OSError:  # of a host that is none of ours: the start tells of it
            port = None
        spec = server_spec(
            self._name,
            config,
            self._home,
            environ=self._environ,
            port=port,
            devices=devices,
            trained=_trained(Path(config.model.path)),
        )
        policies = Policies(health_policy(config.healthcheck), spec.restart)
        return Plan(spec, policies, fingerprint(config))


def _trained(model: Path) -> int | None:
    """The context that it was trained for; None where it does not say, or is none: then its start
    says why.
    """
    try:
        return read_gguf(model).context_length
    except (ModelFileError, OSError):
        return None


def _stamp(path: Path) -> float | None:
    """When a file was written; None if it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
