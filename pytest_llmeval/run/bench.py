"""Which model of a config serves a scorer that needs one, and in which form it replies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmeval.engines.engine import refuse_request
from pytest_llmeval.errors import ScorerError, Unsupported
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.inputs.mistakes import unknown
from pytest_llmeval.records import Message, Request, Sampling
from pytest_llmeval.scoring.second_wave import ModelScorer

#: Whether an engine refuses this says whether its replies keep to a schema.
_ASKS_FOR_JSON = Request((Message("user", "-"),), Sampling(1), json_schema={"type": "object"})


@dataclass(frozen=True, slots=True)
class Bench:
    """The models that may serve scorers: their engines and roles by name, and the usual judge."""

    engines: Mapping[str, str]
    roles: Mapping[str, str]
    judge: str | None = None

    @classmethod
    def of(cls, config: Config, *, dry_run: bool = False) -> Bench:
        """Those of a config; in a dry run the fake engine plays them all."""
        models = config.models.items()
        return cls(
            {name: "fake" if dry_run else model.engine for name, model in models},
            {name: model.role for name, model in models},
            config.judge,
        )

    @classmethod
    def of_canonical(cls, config: Mapping[str, Any], *, dry_run: bool = False) -> Bench:
        """The same of a config as a manifest keeps it."""
        models: Mapping[str, Mapping[str, Any]] = config.get("models", {})
        return cls(
            {name: "fake" if dry_run else model["engine"] for name, model in models.items()},
            {name: model.get("role", "model") for name, model in models.items()},
            config.get("judge"),
        )

    def model_for(self, scorer: ModelScorer) -> str:
        """The model that serves a scorer. Raises ScorerError when it is not clear which."""
        if scorer.role == "embedder":
            return self._embedder(scorer)
        name = scorer.model or self.judge
        if name is None:
            raise ScorerError(
                f"scorer {scorer.name} needs a model that judges: write judge: NAME into the "
                f"config (it has {', '.join(self.engines)}), or model: NAME beside its options"
            )
        able = [known for known, role in self.roles.items() if role != "embedder"]
        if name not in able:
            raise ScorerError(f"scorer {scorer.name}: model: {unknown('model', name, able)}")
        return name

    def _embedder(self, scorer: ModelScorer) -> str:
        able = [known for known, role in self.roles.items() if role == "embedder"]
        if not able:
            raise ScorerError(
                f"scorer {scorer.name} needs a model with role: embedder in the config; "
                f"it has {', '.join(self.engines)}"
            )
        if scorer.model is None and len(able) > 1:
            raise ScorerError(
                f"scorer {scorer.name}: the config has several embedders, {', '.join(able)}: "
                f"say which with model: NAME beside its options"
            )
        name = scorer.model or able[0]
        if name not in able:
            raise ScorerError(f"scorer {scorer.name}: model: {unknown('embedder', name, able)}")
        return name

    def replies_in_json(self, model: str) -> bool:
        """Whether a model's engine makes its replies keep to a JSON Schema."""
        try:
            refuse_request(self.engines[model], _ASKS_FOR_JSON)
        except Unsupported:
            return False
        return True
