"""In and out, as the files say it: which requests of a batch have which results.

Unlike the journal's reader it does not stop at a trial that was answered twice: it names all that
does not fit.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_llmeval.errors import RunError
from pytest_llmeval.records import Prediction, Predictions
from pytest_llmeval.results.lines import prediction_from_line
from pytest_llmeval.results.strays import Strays, strays


@dataclass(frozen=True, slots=True)
class Balance:
    """What came out for some requests: the outcome that counts for each, and what is odd.

    An answer counts more than a failure, the first answer more than a second one, and the last
    failure more than those before it.
    """

    asked: tuple[str, ...]
    outcomes: Predictions
    odd: Strays

    def of(self, some: Sequence[str]) -> list[Prediction]:
        """The outcomes of some of the requests, in their order."""
        return [self.outcomes[id_] for id_ in some if id_ in self.outcomes]


def balance(asked: Iterable[str], results: Iterable[Prediction]) -> Balance:
    """Hold results against requests."""
    wanted = tuple(asked)
    outcomes: dict[str, Prediction] = {}
    answers = Counter[str]()
    for prediction in results:
        trial_id = prediction.trial_id
        earlier = outcomes.get(trial_id)
        if earlier is None or earlier.answer is None:
            outcomes[trial_id] = prediction
        answers[trial_id] += prediction.answer is not None
    # Failures before an answer, or each other, are attempts at one outcome.
    out = [id_ for id_ in outcomes for _ in range(max(1, answers[id_]))]
    return Balance(wanted, outcomes, strays(wanted, out))


def read_custom_ids(path: Path) -> list[str]:
    """The ids of a file of requests, in order. Raises `RunError` for a line that is none."""
    ids = []
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                ids.append(_custom_id(line, path, number))
    return ids


def _custom_id(line: bytes, path: Path, number: int) -> str:
    try:
        custom_id = json.loads(line)["custom_id"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path}:{number}: this is no request: {error}") from None
    if not isinstance(custom_id, str):
        raise RunError(f"{path}:{number}: this is no request: its custom_id is no text")
    return custom_id


def read_results(paths: Iterable[Path]) -> Iterator[Prediction]:
    """Every result of some files; a torn last line is passed over. Raises `RunError`."""
    for path in paths:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    yield prediction_from_line(line)
                except ValueError as error:
                    raise RunError(f"{path}:{number}: this is no result: {error}") from None
