"""Everything this package raises on purpose.

LlmevalError                 its text is a complete message for the user
├── InputError               something the user wrote; carries file and line; exit status 4
│   ├── ConfigError          the file given to --llm-config, or an override of it
│   ├── SuiteError           a suite file, or the arguments of an llmeval marker
│   ├── DatasetError         a file of items
│   ├── TemplateError        a prompt template
│   ├── ScorerError          a scorer's name or options
│   ├── InstanceConfigError  the config of an instance of llama-orch
│   └── FaultError           a fault for the fault proxy, or where the proxy is to stand
├── MissingExtraError        an optional package is not installed; names its pip line
├── RunError                 a run's folder cannot be used
├── BaselineError            a file of `baselines/` cannot be used
│   └── DamagedBaselineError it was one of ours; carries whose
├── ServerError              a server process we manage
│   ├── ModelFileError       the GGUF is missing, truncated or no GGUF
│   ├── ServerStartError     it never became healthy; carries the last lines of its log
│   │   └── WrongDeviceError it computes on something else than was asked for
│   └── ServerLostError      it died more often than its restart policy allows
├── OrchestratorError        what llama-orch keeps, or is asked for
│   ├── UnknownInstanceError no instance has this name; tells those that there are
│   ├── StateError           the database of the instances cannot be used
│   └── DaemonError          the daemon cannot be started, stopped or reached
└── EngineError              one attempt at a request brought no answer
    ├── EndpointUnreachable  refused, reset, or closed in mid-answer
    │   ├── EndpointAbsent   no connection: nothing was sent
    │   └── EndpointKilled   closed by dying over this very request, which is not asked again
    ├── EndpointTimeout      no complete answer in time
    ├── EndpointBusy         429, 502, 503, 504 or 529; may say when to come back
    ├── RequestRefused       any other 4xx or 5xx, with the server's own words
    │   ├── WrongKey         401 or 403: the API key is missing, wrong, or not allowed this
    │   ├── UnknownModel     the endpoint has no model of that name
    │   └── ContextOverflow  the prompt, or prompt and answer, do not fit into the context
    ├── BadAnswer            the endpoint answered 200 with something that is no answer
    ├── PromptTruncated      the model has read less than it was asked
    ├── BadLogprobs          log probabilities that are none, such as NaN
    ├── JobGone              the service knows no batch job of this name
    ├── ResultMissing        a batch job has ended without a result for this request
    ├── NotRecorded          the recording that is played has no answer to this
    └── Unsupported          the engine, or its endpoint, cannot honestly do what was asked
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path


class LlmevalError(Exception):
    """The base of all: its text is a complete message for the user."""


class InputError(LlmevalError):
    """Something the user wrote is wrong.

    `path` and `line` (from 1) say where, when known; `str()` puts them in front, so that editors
    and terminals turn `file:line:` into a link.
    """

    def __init__(self, message: str, *, path: Path | str | None = None, line: int | None = None):
        self.message = message
        self.path = path
        self.line = line
        super().__init__(message)

    def __str__(self) -> str:
        if self.path is None:
            return self.message
        place = f"{self.path}:{self.line}" if self.line is not None else f"{self.path}"
        return f"{place}: {self.message}"


class ConfigError(InputError):
    """The config file, or an override of it, cannot be used."""


class SuiteError(InputError):
    """A suite file, or the arguments of an llmeval marker, cannot be used."""


class DatasetError(InputError):
    """A file of items cannot be read or holds something that is no item."""


class TemplateError(InputError):
    """A prompt template has a mistake, or names a field that the item does not have."""


class ScorerError(InputError):
    """No such scorer, or an option it does not take."""


class InstanceConfigError(InputError):
    """The config of an instance of llama-orch cannot be used."""


class FaultError(InputError):
    """No such fault, a value that it cannot have, or a place where the fault proxy cannot stand."""


class MissingExtraError(LlmevalError):
    """An optional package is needed and not installed."""

    def __init__(self, what: str, *, package: str, extra: str):
        self.what = what
        self.package = package
        self.extra = extra
        super().__init__(
            f"{what} needs the package {package}, which is not installed. "
            f'Install it with: pip install "pytest-llmeval-local[{extra}]"'
        )

    def __reduce__(self) -> tuple[Callable[[], MissingExtraError], tuple[()]]:
        # It may travel to a worker of xdist, and pickle gives an exception no keywords by itself.
        return partial(MissingExtraError, self.what, package=self.package, extra=self.extra), ()


class RunError(LlmevalError):
    """A run's folder cannot be used."""


class BaselineError(LlmevalError):
    """A file of `baselines/` cannot be used."""


class DamagedBaselineError(BaselineError):
    """A baseline does not hold what was written: edited, cut short or half merged.

    `suite` and `condition` are those that it still tells, None where it does not.
    """

    def __init__(self, message: str, *, suite: str | None = None, condition: str | None = None):
        self.suite = suite
        self.condition = condition
        super().__init__(message)


class ServerError(LlmevalError):
    """A server process we manage is in trouble; `log_tail` holds the last lines it wrote."""

    def __init__(self, message: str, *, log_tail: tuple[str, ...] = ()):
        self.message = message
        self.log_tail = log_tail
        super().__init__(message)

    def __str__(self) -> str:
        if not self.log_tail:
            return self.message
        return "\n".join(
            [self.message, "its last words:", *(f"    {line}" for line in self.log_tail)]
        )


class ModelFileError(ServerError):
    """The model file is missing, truncated or no GGUF."""


class ServerStartError(ServerError):
    """The server never became healthy."""


class WrongDeviceError(ServerStartError):
    """The server computes on something else than was asked for, and would do so every time."""


class ServerLostError(ServerError):
    """The server died more often than its restart policy allows."""


class OrchestratorError(LlmevalError):
    """What llama-orch keeps, or is asked for, cannot be used."""


class UnknownInstanceError(OrchestratorError):
    """No instance has this name."""


class StateError(OrchestratorError):
    """The database of the instances cannot be used."""


class DaemonError(OrchestratorError):
    """The daemon cannot be started, stopped or reached."""


class EngineError(LlmevalError):
    """One attempt at a request brought no answer.

    `reason` is the word that ends up in the record of a trial that stays unanswered; `retryable`
    says whether asking again may help; `retry_after` is what the server asked for, in seconds.
    """

    reason = "error"
    retryable = False

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ):
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


class EndpointUnreachable(EngineError):
    """Refused, reset, or closed in the middle of an answer."""

    reason = "unreachable"
    retryable = True


class EndpointAbsent(EndpointUnreachable):
    """No connection could be made, or none that lasted, so that nothing can have been sent."""


class EndpointKilled(EndpointUnreachable):
    """It died over a request of the kind that does so every time."""

    retryable = False


class EndpointTimeout(EngineError):
    """No complete answer in time."""

    reason = "timeout"
    retryable = True


class EndpointBusy(EngineError):
    """429, 502, 503, 504 or 529: worth asking again later."""

    reason = "busy"
    retryable = True


class RequestRefused(EngineError):
    """The server understood and said no (4xx), or broke over the request (500)."""

    reason = "refused"


class WrongKey(RequestRefused):
    """The API key is missing, wrong, or does not allow this (401, 403)."""

    reason = "wrong_key"


class UnknownModel(RequestRefused):
    """The endpoint says that it has no model of the name that the request carries."""

    reason = "unknown_model"


class ContextOverflow(RequestRefused):
    """The prompt, or prompt and answer together, do not fit into the model's context."""

    reason = "context_overflow"


class BadAnswer(EngineError):
    """The endpoint answered 200 with something that is no answer."""

    reason = "bad_answer"


class PromptTruncated(EngineError):
    """The model has read less than it was asked, and nobody said so."""

    reason = "prompt_truncated"


class BadLogprobs(EngineError):
    """Log probabilities were asked for, and some are no number up to 0."""

    reason = "bad_logprobs"


class JobGone(EngineError):
    """The service knows no batch job of this name: it was never made, or is deleted."""


class ResultMissing(EngineError):
    """A batch job has ended without a result for this request."""

    reason = "missing"


class NotRecorded(EngineError):
    """A recording is played, and it has no answer to this."""

    reason = "not_recorded"


class Unsupported(EngineError):
    """The engine, or the endpoint behind it, cannot honestly do what was asked."""

    reason = "unsupported"
