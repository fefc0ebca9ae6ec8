"""What `llama-orch config lint` looks for in all instances together. Pure: all facts come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.inputs.mistakes import did_you_mean
from pytest_llmeval.machine.memory import Memory
from pytest_llmeval.orchestrator.admission import amount
from pytest_llmeval.orchestrator.configs import LoadedInstance
from pytest_llmeval.orchestrator.consistency import ANY_ADDRESS
from pytest_llmeval.orchestrator.findings import Finding, about
from pytest_llmeval.orchestrator.lint_facts import Facts, Machine
from pytest_llmeval.orchestrator.side_by_side import holding_of, seen_together, shortage


@dataclass(frozen=True, slots=True)
class Together:
    """All instances whose configs have no mistake, and what was found out about each.

    `names` are all there are; `autostart` those that the daemon brings up, as `autostart_path` has
    them.
    """

    instances: Sequence[LoadedInstance]
    facts: Mapping[str, Facts]
    machine: Machine
    names: Sequence[str]
    autostart: Sequence[str]
    autostart_path: Path


def names_are_distinct(all_of: Together) -> Iterator[Finding]:
    """No two differ by case only: where files are found whatever their case, they would be one."""
    seen: dict[str, LoadedInstance] = {}
    for instance in all_of.instances:
        other = seen.setdefault(instance.name.lower(), instance)
        if other is not instance:
            message = f"the names {other.name!r} and {instance.name!r} differ by case only"
            yield about(instance, (), "error", "names", message, "Rename one of the folders")


def ports_are_distinct(all_of: Together) -> Iterator[Finding]:
    """No two ask for one port where their addresses meet."""
    for number, instance in enumerate(all_of.instances):
        port = instance.config.server.port
        earlier = (other for other in all_of.instances[:number] if _meet(instance, other))
        other = next(earlier, None)
        if port != "auto" and other is not None:
            place = f"{other.path}:{other.document.line_of(('server', 'port'))}"
            message = f"port {port} is also that of {other.name} ({place})"
            way_out = "Give one of them another port, or auto"
            yield about(instance, ("server", "port"), "error", "port", message, way_out)


def _meet(one: LoadedInstance, other: LoadedInstance) -> bool:
    hosts = {one.config.server.host, other.config.server.host}
    same_place = len(hosts) == 1 or bool(hosts & ANY_ADDRESS)
    return same_place and one.config.server.port == other.config.server.port


def aliases_are_distinct(all_of: Together) -> Iterator[Finding]:
    """The name of a model leads to one instance."""
    named = {instance.name: instance for instance in all_of.instances}
    taken: dict[str, LoadedInstance] = {}
    for instance in all_of.instances:
        for number, alias in enumerate(instance.config.aliases):
            other = named.get(alias) or taken.setdefault(alias, instance)
            if other is not instance:
                what = "the name" if alias in named else "an alias"
                message = f"the alias {alias!r} is {what} of {other.name}"
                way_out = "A request for it could mean either: take it out of one of them"
                yield about(instance, ("aliases", number), "error", "aliases", message, way_out)


def autostart_is_there(all_of: Together) -> Iterator[Finding]:
    """What the daemon is to bring up has a config."""
    for name in all_of.autostart:
        if name not in all_of.names:
            hint = did_you_mean(name, all_of.names)
            message = f"the daemon is to bring up {name!r}, which has no config{hint}"
            way_out = f"Take it out with: llama-orch daemon autostart --remove {name}"
            path = all_of.autostart_path
            yield Finding("warning", "autostart", None, path, None, message, way_out)


def memory_is_enough_for_all(all_of: Together) -> Iterator[Finding]:
    """What the daemon brings up fits into memory together, as far as anybody can tell."""
    waiting = [
        (each, facts.estimate, facts.sight)
        for each in all_of.instances
        if each.name in all_of.autostart
        and not (facts := all_of.facts[each.name]).runs
        and facts.estimate is not None
        and facts.sight is not None
    ]
    if len(waiting) < 2:
        return
    holdings = [holding_of(each.config, need, sight) for each, need, sight in waiting]
    short = shortage(holdings, [], seen_together([sight for _, _, sight in waiting]))
    if short.ram or short.vram:
        needs = [need.total for _, need, _ in waiting]
        need = Memory(sum(each.ram for each in needs), sum(each.vram or 0 for each in needs))
        names = ", ".join(each.name for each, _, _ in waiting)
        message = (
            f"{names} are brought up together and need about {amount(need)}: "
            f"{amount(short)} too little is free"
        )
        way_out = "Take one out with: llama-orch daemon autostart --remove NAME"
        path = all_of.autostart_path
        yield Finding("warning", "memory", None, path, None, message, way_out)


RULES_TOGETHER: tuple[Callable[[Together], Iterator[Finding]], ...] = (
    names_are_distinct,
    ports_are_distinct,
    aliases_are_distinct,
    autostart_is_there,
    memory_is_enough_for_all,
)
