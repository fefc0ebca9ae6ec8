"""Whether what the run needs can be started on this machine at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pytest_llmeval.errors import ConfigError, LlmevalError, MissingExtraError, ServerStartError
from pytest_llmeval.inputs.config import Config
from pytest_llmeval.run.models import Backing


def refuse_if_none_can_start(
    config: Config, backings: Mapping[str, Backing], names: Iterable[str]
) -> None:
    """Raise ConfigError when the program, package or file behind each of these models is missing.

    As soon as one of them may start it is asked, and the trials of the others say what they lack.
    """
    lacking: list[ConfigError] = []
    for name in names:
        model, line = config.models[name], config.model_lines.get(name)
        if model.url is None and model.gguf is not None and not model.gguf.is_file():
            words = f"models: {name}: {model.gguf}: there is no such file"
            lacking.append(ConfigError(words, path=config.path, line=line))
            continue
        try:
            backings[name].find_program()
        except (MissingExtraError, ServerStartError) as error:
            lacking.append(ConfigError(str(error), path=config.path, line=line))
        except LlmevalError:
            return  # its trials tell
        else:
            return
    if lacking:
        first, *others = lacking
        message = "\n".join([first.message, *map(str, others)])
        raise ConfigError(message, path=first.path, line=first.line)
