"""What is to be started for an instance: its config, made a plan, if there is room for it."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_llmeval.orchestrator.configs import LoadedInstance, fingerprint, load_instance
from pytest_llmeval.orchestrator.home import Home
from pytest_llmeval.orchestrator.keep import Policies
from pytest_llmeval.orchestrator.launch import Plan
from pytest_llmeval.orchestrator.specs import health_policy, server_spec
from pytest_llmeval.servers import ports


class InstancePlans:
    """The plans of one instance (`keeper.Planner`).

    What it was started with last is remembered: a server that died is started again as it was,
    although its config may have been changed or removed since.
    """

    def __init__(self, name: str, home: Home, environ: Mapping[str, str]) -> None:
        self._name = name
        self._home = home
        self._environ = environ
        self._last: LoadedInstance | None = None

    def check(self) -> None:
        """Read the config as it is now; raises what is wrong with it."""
        self._plan(self._load(), None)

    def plan(self, *, anew: bool, port: int | None) -> Plan:
        """What to start; raises InstanceConfigError or what else stands in the way."""
        if anew or self._last is None:
            self._last = self._load()
        return self._plan(self._last, port)

    def _load(self) -> LoadedInstance:
        return load_instance(self._home, self._name, self._environ)

    def _plan(self, loaded: LoadedInstance, port: int | None) -> Plan:
        config = loaded.config
        if port is not None and not ports.is_free(config.server.host, port):
            port = None
        spec = server_spec(self._name, config, self._home, environ=self._environ, port=port)
        policies = Policies(health_policy(config.healthcheck), spec.restart)
        return Plan(spec, policies, fingerprint(config))
