"""The two tiny models and the demo suites: nothing leaked, nothing drifted, all there."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import gguf
import pytest
from jinja2 import Environment
from ruamel.yaml import YAML

from tools.tiny_models import suites
from tools.tiny_models.corpus import SHARES, sample
from tools.tiny_models.documents import CALL, CALL_END, END, SPECIALS, Turn, chat, text_of
from tools.tiny_models.measure import messages
from tools.tiny_models.skills import calls, compare
from tools.tiny_models.splits import is_held_out, pair_is_held_out
from tools.tiny_models.tokenizer import Tokenizer
from tools.tiny_models.words import BAD, GOOD, NOUNS, SO_SO

ROOT = Path(__file__).parents[2]
MODELS = (ROOT / "models" / "tiny-l.gguf", ROOT / "models" / "tiny-s.gguf")
TEMPLATE_CONTEXT = 96


@cache
def trained_texts() -> tuple[str, ...]:
    """Return as many documents as make every kind of question appear hundreds of times."""
    return tuple(text_of(document) for document in sample(14_000, seed=7))


def suite(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(ROOT / "suites" / f"{name}.yaml")
    return loaded


def items(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "suites" / "data" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def rendered(name: str) -> Iterator[list[dict[str, str]]]:
    for prompt in suite(name)["prompts"].values():
        for item in items(name):
            yield messages(prompt, item)


@cache
def metadata(path: Path) -> dict[str, Any]:
    """Return what a GGUF says of itself."""
    fields = gguf.GGUFReader(path).fields
    return {key: found.contents() for key, found in fields.items()}


def field(path: Path, key: str) -> Any:
    assert key in metadata(path), f"{path.name} has no {key}"
    return metadata(path)[key]


@pytest.mark.parametrize("name", suites.SUITES)
def test_data_is_what_the_generator_writes(name: str) -> None:
    """The data file of a suite is byte for byte what the generator writes today."""
    written = (ROOT / "suites" / "data" / f"{name}.jsonl").read_bytes()
    assert written == suites.lines(name).encode()


@pytest.mark.parametrize("name", suites.SUITES)
def test_ids_are_unique_and_counts_are_as_promised(name: str) -> None:
    """A suite has 60 to 300 items with ids of their own, in the order of the ids."""
    ids = [item["id"] for item in items(name)]
    assert 60 <= len(ids) <= 300
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("name", suites.SUITES)
def test_no_prompt_of_a_suite_is_in_the_training_text(name: str) -> None:
    """No question of a suite stands in the training text, not even with tools or in a chat."""
    asked = {f"user\n{turns[-1]['content']}{END}" for turns in rendered(name)}
    if name == "tools":
        texts = [text for text in trained_texts() if "Tools:" in text]
    else:
        texts = list(trained_texts())
    trained = {
        question
        for text in texts
        for question in re.findall(rf"user\n.*?{re.escape(END)}", text, re.DOTALL)
    }
    assert trained
    assert not asked & trained


def test_no_held_out_sum_is_in_the_training_text() -> None:
    """Two numbers that a suite adds are never added in training, in either order."""
    found = [
        (int(a), int(b))
        for text in trained_texts()
        for a, b in re.findall(r"(\d\d) (?:\+|plus|and) (\d\d)\b", text)
    ]
    assert len(found) > 5_000
    assert not [pair for pair in found if pair_is_held_out("sum", *pair)]
    assert all(pair_is_held_out("sum", item["a"], item["b"]) for item in items("arithmetic"))


def test_no_held_out_comparison_is_in_the_training_text() -> None:
    """Two numbers that a suite compares are never compared in training, in either order."""
    found = [
        (int(a), int(b))
        for text in trained_texts()
        for a, b in re.findall(r"(?:larger,? )?(\d+) (?:or )?(\d+)(?:\?|: which| =)", text)
    ]
    assert len(found) > 1_000
    assert not [pair for pair in found if compare.is_unseen(*pair)]
    assert all(compare.is_unseen(item["a"], item["b"]) for item in items("compare"))


def test_no_held_out_name_is_in_the_training_text() -> None:
    """The people of the suites are called what nobody in the training text is called."""
    everything = " ".join(trained_texts())
    unseen = [item["text"].split()[0] for item in items("json") if "friend" not in item["text"]]
    unseen += [call["arguments"]["name"] for call in wanted_calls() if "name" in call["arguments"]]
    assert unseen
    words = set(re.findall(r"\w+", everything))
    assert not words & set(unseen)
    assert all(is_held_out("name", name) for name in unseen)


def wanted_calls() -> list[dict[str, Any]]:
    return [call for item in items("tools") for call in item["answer"]]


def test_no_tool_is_trained_with_a_held_out_argument() -> None:
    """Cities and minutes of the tools suite are never arguments of a trained call."""
    trained = "\n".join(text for text in trained_texts() if CALL in text)
    assert trained.count(CALL) > 1_000
    for call in wanted_calls():
        assert json.dumps(call) not in trained


def clauses(text: str) -> set[tuple[str, str]]:
    """Return the noun-adjective pairs of every clause in which one stands beside the other."""
    return set(re.findall(r"[Tt]he (\w+) (?:was (?:very |not |never )?)?(\w+)", text))


def test_sentences_are_of_unseen_word_pairs() -> None:
    """No noun of the sentiment suite stands with its adjective in the training text."""
    trained = {pair for text in trained_texts() for pair in clauses(text)}
    asked = {pair for item in items("sentiment") for pair in clauses(item["text"])}
    known = {pair for pair in trained if pair[0] in NOUNS and pair[1] in GOOD + BAD + SO_SO}
    assert len(known) > 300
    assert not asked & known
    assert all(is_held_out("noun-adjective", *pair) for pair in asked)


def test_options_never_stood_together_in_training() -> None:
    """The four options of a choice are a set that training never listed, in any order."""
    listed = {
        frozenset(options)
        for text in trained_texts()
        for options in re.findall(r"A:(\w+)\nB:(\w+)\nC:(\w+)\nD:(\w+)\n", text)
    }
    assert len(listed) > 1_000
    assert not [item for item in items("choice") if frozenset(item["options"]) in listed]


def test_every_capital_is_asked_and_trained() -> None:
    """Facts are known, only their wordings are new: each capital is in the training text."""
    everything = " ".join(trained_texts())
    assert all(item["answer"] in everything for item in items("capitals"))


@pytest.mark.parametrize("skill", SHARES)
def test_a_seed_gives_the_same_documents(skill: str) -> None:
    """The same seed writes the same training text."""
    maker, first, second = SHARES[skill][0], Random(3), Random(3)
    assert [maker(first) for _ in range(50)] == [maker(second) for _ in range(50)]


@pytest.mark.parametrize("name", suites.SUITES)
def test_suites_have_a_gate_on_the_better_model(name: str) -> None:
    """Every suite asks tiny-l for a least score and for what it had, by its headline scorer."""
    loaded = suite(name)
    assert loaded["items"] == f"data/{name}.jsonl"
    least, baseline = loaded["gates"]
    for gate in (least, baseline):
        model, variant = gate["only"].split("/")
        assert model == "tiny-l"
        assert variant in loaded["prompts"]
        assert gate["metric"] == loaded["score"]
    assert 0 < least["at_least"] < 1
    assert (baseline["not_worse_than"], baseline["margin"]) == ("baseline", 0.03)


def test_the_suite_sends_the_tools_it_trained() -> None:
    """The tools of the suite are those of the training text, in the same order."""
    sent = [tool["function"] for tool in suite("tools")["tools"]]
    assert [(tool["name"], tuple(tool["parameters"]["properties"])) for tool in sent] == [
        (tool.name, tool.keys) for tool in calls.SUITE_TOOLS
    ]


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_a_model_is_a_small_llama(model: Path) -> None:
    """A model is a llama of at most 4 MB that knows its name, its template and its end."""
    assert model.stat().st_size <= 4 * 1024 * 1024
    assert field(model, "general.architecture") == "llama"
    assert field(model, "general.name") == model.stem
    assert field(model, "general.license") == "mit"
    assert field(model, "tokenizer.ggml.add_bos_token") is False
    tokens = field(model, "tokenizer.ggml.tokens")
    assert tokens[field(model, "tokenizer.ggml.eos_token_id")] == END
    assert tokens[field(model, "tokenizer.ggml.eot_token_id")] == END
    assert len(set(tokens)) == len(tokens)


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_special_tokens_have_their_types(model: Path) -> None:
    """Tool tags are user-defined, so that a server prints them; the rest is control."""
    tokens = field(model, "tokenizer.ggml.tokens")
    types = dict(zip(tokens, field(model, "tokenizer.ggml.token_type"), strict=True))
    user_defined = {token for token, kind in types.items() if kind == gguf.TokenType.USER_DEFINED}
    control = {token for token, kind in types.items() if kind == gguf.TokenType.CONTROL}
    assert user_defined == {CALL, CALL_END}
    assert control == set(SPECIALS) - user_defined


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_a_model_names_no_machine(model: Path) -> None:
    """No metadata of a model holds a path."""
    for key, content in metadata(model).items():
        if isinstance(content, str) and key != "tokenizer.chat_template":
            assert not re.search(r"[/\\]|home|tmp", content), key


@pytest.mark.parametrize("name", suites.SUITES)
def test_the_template_writes_what_was_trained(name: str) -> None:
    """The chat template in the model lays a prompt out as the training text did, and short."""
    template = Environment().from_string(field(MODELS[0], "tokenizer.chat_template"))
    merges = [tuple(merge.split(" ")) for merge in field(MODELS[0], "tokenizer.ggml.merges")]
    tokenizer = Tokenizer((left, right) for left, right in merges)
    assert tokenizer.tokens == field(MODELS[0], "tokenizer.ggml.tokens")
    tools = suite(name).get("tools", [])
    shown = calls.SUITE_TOOLS if tools else ()
    for turns in rendered(name):
        text = template.render(messages=turns, tools=tools, add_generation_prompt=True)
        system = turns[0]["content"] if turns[0]["role"] == "system" else ""
        trained = text_of(chat([Turn(turns[-1]["content"], "")], system, shown))
        assert text == trained.removesuffix(END)
        assert len(tokenizer.encode(text)) <= TEMPLATE_CONTEXT
