"""What is found to be wrong, or doubtful, about the configs of instances."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_llmeval.errors import InputError
from pytest_llmeval.inputs.documents import KeyPath
from pytest_llmeval.orchestrator.configs import LoadedInstance

Severity = Literal["error", "warning", "note"]
"""An error keeps an instance from running, a warning is probably not meant, a note is to know."""

_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: which rule found it, about which instance, where, what it is, and the way out.

    `instance` is None for what is about the home; `line` counts from 1.
    """

    severity: Severity
    rule: str
    instance: str | None
    path: Path
    line: int | None
    message: str
    way_out: str = ""

    @property
    def place(self) -> str:
        """`file:line`, which editors and terminals turn into a link."""
        return str(self.path) if self.line is None else f"{self.path}:{self.line}"

    @property
    def text(self) -> str:
        """Message and way out."""
        if not self.way_out:
            return self.message
        return f"{self.message}{'' if self.message.endswith('?') else '.'} {self.way_out}"


def about(
    instance: LoadedInstance,
    keys: KeyPath,
    severity: Severity,
    rule: str,
    message: str,
    way_out: str = "",
) -> Finding:
    """A finding about the value under `keys` of an instance's config."""
    line = instance.document.line_of(keys)
    return Finding(severity, rule, instance.name, instance.path, line, message, way_out)


def from_mistake(instance: str | None, mistake: InputError, rule: str = "config") -> Finding:
    """A mistake in a file as a finding."""
    path = Path(mistake.path) if mistake.path is not None else Path()
    return Finding("error", rule, instance, path, mistake.line, mistake.message)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The home's first, then by instance, the worst first."""

    def key(finding: Finding) -> tuple[str, int, int, str]:
        severity = _ORDER.index(finding.severity)
        return finding.instance or "", severity, finding.line or 0, finding.rule

    return tuple(sorted(findings, key=key))


def summary(findings: Iterable[Finding]) -> str:
    """For instance `1 error, 2 warnings`, and `nothing found` where there is nothing."""
    severities = [finding.severity for finding in findings]
    counts = [(severities.count(severity), severity) for severity in _ORDER]
    told = [f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count]
    return ", ".join(told) or "nothing found"
