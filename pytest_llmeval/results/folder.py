"""A run's folder: where it is, what it is called, how it is found again."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pytest_llmeval.atomic import write_text
from pytest_llmeval.errors import RunError

MANIFEST = "manifest.json"
"""The file that makes a folder a run."""

ENVIRONMENT = "environment.json"
SIGNIFICANCE = "significance.json"
COSTS = "costs.json"

_ID = re.compile(r"(\d{4}-\d{2}-\d{2}-\d{4})(?:-(\d+))?")
_ID_FORMAT = "%Y-%m-%d-%H%M"
_SLUG_LENGTH = 80
_TAKEN = frozenset(
    {"con", "prn", "aux", "nul"}
    | {MANIFEST, ENVIRONMENT, SIGNIFICANCE, COSTS, "reports", "logs"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)
"""What no condition's folder may be called: Windows' device names, with any ending, and ours."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. `slugs` says for each condition's name what its folder is called."""

    path: Path
    slugs: Mapping[str, str]

    @classmethod
    def create(cls, base: Path, now: datetime, conditions: Iterable[str]) -> RunFolder:
        """Make the folder of a run that begins `now`, with a folder for each condition in it.

        Two runs within a minute get `-2`, `-3` and so on. `base` ignores itself in git. Raises
        `RunError` when it cannot be written.
        """
        try:
            base.mkdir(parents=True, exist_ok=True)
            if not (base / ".gitignore").exists():
                write_text(base / ".gitignore", "*\n")
            path = _new_folder(base, now.strftime(_ID_FORMAT))
            folder = cls(path, condition_slugs(conditions))
            folder._make_folders()
        except OSError as error:
            raise RunError(
                f"cannot make a run's folder in {base}: {error.strerror or error}. "
                "Choose another place with --llm-run-dir DIR"
            ) from error
        return folder

    @classmethod
    def at(cls, path: Path, conditions: Iterable[str]) -> RunFolder:
        """Make the folder of a run at a place of the user's choice, which must be empty or new."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise RunError(f"{path} is not empty: choose a new folder, or delete that one")
            folder = cls(path, condition_slugs(conditions))
            folder._make_folders()
        except OSError as error:
            raise RunError(f"cannot make a folder at {path}: {error.strerror or error}") from error
        return folder

    @classmethod
    def open(cls, path: Path, conditions: Iterable[str]) -> RunFolder:
        """Go back to a run of the same conditions, as `find_run` found it."""
        folder = cls(path, condition_slugs(conditions))
        folder._make_folders()
        return folder

    @property
    def id(self) -> str:
        """The run's name, for instance `2026-11-23-0412`."""
        return self.path.name

    @property
    def reports(self) -> Path:
        """The folder of both reports."""
        return self.path / "reports"

    @property
    def markdown_report(self) -> Path:
        """The report for a terminal, a pull request or a language model."""
        return self.reports / "report.md"

    @property
    def html_report(self) -> Path:
        """The report for a browser, on a phone, too."""
        return self.reports / "report.html"

    @property
    def environment(self) -> Path:
        """What the run was made on."""
        return self.path / ENVIRONMENT

    @property
    def significance(self) -> Path:
        """Metrics, comparisons and gates in numbers."""
        return self.path / SIGNIFICANCE

    @property
    def costs(self) -> Path:
        """What the run took."""
        return self.path / COSTS

    def condition(self, name: str) -> Path:
        """The folder of one condition."""
        return self.path / self.slugs[name]

    def requests(self, condition: str, part: int = 1) -> Path:
        """Where a part's requests lie."""
        return requests_path(self.condition(condition), part)

    def results(self, condition: str, part: int = 1) -> Path:
        """Where a part's journal lies."""
        return self.condition(condition) / "parts" / f"part-{part:04d}.results.jsonl"

    def judge_requests(self, condition: str) -> Path:
        """Where it lies what judges were asked about a condition's answers."""
        return self.condition(condition) / "parts" / "judge-0001.requests.jsonl"

    def judge_results(self, condition: str) -> Path:
        """Where the journal of the judges of a condition's answers lies."""
        return self.condition(condition) / "parts" / "judge-0001.results.jsonl"

    def jobs(self, condition: str, part: int = 1) -> Path:
        """Where the batch jobs of a part are written down."""
        return jobs_path(self.condition(condition), part)

    def _make_folders(self) -> None:
        self.reports.mkdir(exist_ok=True)
        for slug in self.slugs.values():
            (self.path / slug / "parts").mkdir(parents=True, exist_ok=True)


def requests_path(condition: Path, part: int) -> Path:
    """Where a part's requests lie in the folder of its condition."""
    return condition / "parts" / f"part-{part:04d}.requests.jsonl"


def jobs_path(condition: Path, part: int) -> Path:
    """Where a part's batch jobs are written down in the folder of its condition."""
    return condition / "parts" / f"part-{part:04d}.jobs.json"


def _new_folder(base: Path, stem: str) -> Path:
    number = 1
    while True:
        path = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def condition_slugs(names: Iterable[str]) -> dict[str, str]:
    """Give each condition a folder name of its own that every file system takes.

    `tiny-l/plain` becomes `tiny-l--plain`. Names that would meet on a file system which ignores
    case all get a short hash of their name, so that a slug does not depend on their order.
    """
    distinct = list(dict.fromkeys(names))
    slugs = {name: _slug(name) for name in distinct}
    met = Counter(_folded(slug) for slug in slugs.values())
    return {
        name: slug if met[_folded(slug)] == 1 else f"{slug}-{_short_hash(name)}"
        for name, slug in slugs.items()
    }


def _slug(name: str) -> str:
    text = unicodedata.normalize("NFC", name).replace("/", "--")
    text = re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "condition"
    if len(text) > _SLUG_LENGTH:
        text = f"{text[:_SLUG_LENGTH].rstrip('-.')}-{_short_hash(name)}"
    folded = text.casefold()
    if folded in _TAKEN or folded.split(".")[0] in _TAKEN:
        return f"_{text}"
    return text


def _folded(slug: str) -> str:
    return unicodedata.normalize("NFC", slug.casefold())


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def list_runs(base: Path) -> list[Path]:
    """The runs in `base`, oldest first; a folder without a manifest is none."""
    if not base.is_dir():
        return []
    return sorted((p for p in base.iterdir() if (p / MANIFEST).is_file()), key=_age_key)


def _age_key(path: Path) -> tuple[str, int, str]:
    """Order by when it began, in UTC: the id has the minute of a clock that may have been set, or
    be in another zone, and the time of a file is not kept by copying it.
    """
    began = _began(path)
    match = _ID.fullmatch(path.name)
    return began.isoformat(), int(match[2] or 1) if match else 0, path.name


_STARTED = re.compile(rb'"started": "([^"]{1,40})"')
_HEAD_OF_MANIFEST = 1024


def _began(path: Path) -> datetime:
    """Read from the manifest's first lines: there may be thousands, of megabytes each."""
    # Whoever reads it says what is wrong with it.
    with contextlib.suppress(OSError, ValueError, OverflowError):
        with (path / MANIFEST).open("rb") as manifest:
            found = _STARTED.search(manifest.read(_HEAD_OF_MANIFEST))
        if found:
            return datetime.fromisoformat(found[1].decode("ascii")).astimezone(timezone.utc)
    match = _ID.fullmatch(path.name)
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if match:
            return datetime.strptime(match[1], _ID_FORMAT).astimezone(timezone.utc)
    with contextlib.suppress(OSError):
        return datetime.fromtimestamp((path / MANIFEST).stat().st_mtime, timezone.utc)
    return datetime.now(timezone.utc)


def find_run(base: Path, name: str) -> Path:
    """Find a run by its id, by its path, or the newest one as `last`.

    Raises `RunError`, which names the runs that were perhaps meant.
    """
    runs = list_runs(base)
    if name == "last":
        if not runs:
            raise RunError(f"there is no run in {base} yet; the first one makes it")
        return runs[-1]
    for path in (base / name, Path(name)):
        if (path / MANIFEST).is_file():
            return path
        if name and any(path.glob("*/parts/*.jsonl")):
            raise RunError(
                f"{path} has no {MANIFEST}, which says what was asked there: put it back. The run "
                "may have been killed before it was written; then delete the folder"
            )
    raise RunError(f"there is no run {name!r} in {base}; {_hint(name, [run.name for run in runs])}")


def _hint(name: str, ids: list[str]) -> str:
    if not ids:
        return "that folder holds no run at all"
    near = difflib.get_close_matches(name, ids, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"the newest are {', '.join(reversed(ids[-5:]))} (or say: last)"
