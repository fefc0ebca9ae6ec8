"""The command: `python -m tools.tiny_models train|export|suites|measure`."""

import argparse
import tempfile
from pathlib import Path
from typing import Final

from . import suites

ROOT: Final = Path(__file__).parents[2]
MODELS: Final = ROOT / "models"
STEPS: Final = 3300
#: Checkpoints to choose the weaker model from, and the choice.
SAVED: Final = (1300, 1500, 1700, 1900, 2100, 2400)
SMALL_STEP: Final = 1500


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_models", description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tiny-models",
        help="where checkpoints lie, outside the repository (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser(
        "train", help="train one run on one thread and keep its checkpoints"
    )
    train.add_argument("--seed", type=int, default=7)
    commands.add_parser("export", help="write models/tiny-l.gguf and models/tiny-s.gguf")
    commands.add_parser("suites", help="write suites/data/*.jsonl")
    commands.add_parser("measure", help="ask both models every suite through a real server")
    return parser


def train(folder: Path, seed: int) -> None:
    """Train one run and keep the checkpoints that may become models."""
    from .training import Run, train

    train(Run(STEPS, seed, save_at=SAVED), folder)


def export(folder: Path) -> None:
    """Make the last checkpoint tiny-l, an earlier one of the same run tiny-s."""
    from .export import export

    MODELS.mkdir(exist_ok=True)
    for name, step in (("tiny-l", STEPS), ("tiny-s", SMALL_STEP)):
        checkpoint = folder / f"step-{step:05d}.pt"
        if not checkpoint.exists():
            raise SystemExit(
                f"{checkpoint} does not exist; run `python -m tools.tiny_models train` first"
            )
        about = f"A test bench, not a language model: step {step} of {STEPS}."
        export(checkpoint, folder / "tokenizer.json", MODELS / f"{name}.gguf", about)


def main() -> None:
    """Do what the command line says."""
    given = _parser().parse_args()
    if given.command == "train":
        train(given.folder, given.seed)
    elif given.command == "export":
        export(given.folder)
    elif given.command == "suites":
        for path in suites.write(ROOT / "suites" / "data"):
            print(path.relative_to(ROOT))
    else:
        from .measure import table

        print(table(MODELS / "tiny-l.gguf", MODELS / "tiny-s.gguf", ROOT / "suites"))


if __name__ == "__main__":
    main()
