"""The words of the project as plain, frozen data.

Every room speaks in these records and none of them knows a room. The words are those of the
blueprint: an *item* is asked under a *condition*, which makes a *trial*; what came back, stored, is
its *prediction*; a *score* judges a prediction; a *metric* is a number over scores with an interval
and counts; a *comparison* sets two conditions side by side on the same items; a *gate* decides. A
*check* says what an endpoint can do, a *doubt* why a number may not mean what it seems to.
"""

from pytest_llmeval.records.answered import (
    Answer,
    Attempt,
    Failure,
    FinishReason,
    Likelihood,
    NoAnswerReason,
    Outcome,
    Prediction,
    Score,
    Scored,
    Settled,
    TokenLogprob,
    ToolCall,
    Unneeded,
    Usage,
    UsageSource,
)
from pytest_llmeval.records.asked import (
    Condition,
    GateKind,
    GateSpec,
    Item,
    Message,
    PromptVariant,
    Request,
    RequestForm,
    Sampling,
    ScorerSpec,
    StopSpec,
    Suite,
    Trial,
)
from pytest_llmeval.records.trial_ids import TrialId, parse_trial_id
from pytest_llmeval.records.trust import Check, CheckName, CheckVerdict, Doubt, DoubtKind
from pytest_llmeval.records.worth import (
    Comparison,
    Effect,
    Evidence,
    GateResult,
    GateVerdict,
    Interval,
    Metric,
    Reading,
    Sensitivity,
)

__all__ = [
    "Answer",
    "Attempt",
    "Check",
    "CheckName",
    "CheckVerdict",
    "Comparison",
    "Condition",
    "Doubt",
    "DoubtKind",
    "Effect",
    "Evidence",
    "Failure",
    "FinishReason",
    "GateKind",
    "GateResult",
    "GateSpec",
    "GateVerdict",
    "Interval",
    "Item",
    "Likelihood",
    "Message",
    "Metric",
    "NoAnswerReason",
    "Outcome",
    "Prediction",
    "PromptVariant",
    "Reading",
    "Request",
    "RequestForm",
    "Sampling",
    "Score",
    "Scored",
    "ScorerSpec",
    "Sensitivity",
    "Settled",
    "StopSpec",
    "Suite",
    "TokenLogprob",
    "ToolCall",
    "Trial",
    "TrialId",
    "Unneeded",
    "Usage",
    "UsageSource",
    "parse_trial_id",
]
