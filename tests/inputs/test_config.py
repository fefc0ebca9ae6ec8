"""The config: what is read, what is filled in, and what every mistake is called."""

import os
from pathlib import Path

import pytest

from pytest_llmeval.errors import ConfigError
from pytest_llmeval.inputs.config import Config, find_config, load_config
from pytest_llmeval.inputs.engine_keys import ENGINES
from pytest_llmeval.inputs.overrides import parse_overrides
from pytest_llmeval.records import Sampling

FAKE = "models: {m: {engine: fake}}\n"


def load(folder: Path, text: str, *overrides: str, **environment: str) -> Config:
    path = folder / "config" / "local.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides, environment)


def refusal(folder: Path, text: str, *overrides: str, **environment: str) -> str:
    """The words of the error, the file's folder left out."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides, **environment)
    return str(caught.value).replace(f"{folder / 'config'}{os.sep}", "")


# What is read -------------------------------------------------------------------------------------


def test_the_config_of_the_blueprint(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        models:
          tiny-l: {engine: embedded, gguf: ../models/tiny-l.gguf}
          tiny-s: {engine: embedded, gguf: ../models/tiny-s.gguf}
        server: {slots: 4, context: 1024}        # context is per slot
        sampling: {temperature: 0, max_tokens: 64, seed: 7}
        """,
    )
    assert list(config.models) == ["tiny-l", "tiny-s"]
    model = config.models["tiny-l"]
    assert model.gguf == tmp_path / "models" / "tiny-l.gguf"
    assert (model.engine, model.slots, model.context) == ("embedded", 4, 1024)
    assert config.samplings[""].sampling == Sampling(64, temperature=0, seed=7)
    assert config.samplings[""].repeats == 1
    assert config.failures_at_most is None


def test_defaults_are_filled_in_and_recorded(tmp_path: Path) -> None:
    config = load(tmp_path, "models: {m: {engine: llama-server, gguf: m.gguf}}")
    model = config.models["m"]
    assert (model.slots, model.context, model.timeout, model.start_timeout) == (4, None, 300, 120)
    assert (model.gpu_layers, model.threads, model.port, model.executable) == (None,) * 4
    assert config.samplings[""].sampling == Sampling(256, temperature=0, seed=0)
    assert config.canonical["sampling"][""]["temperature"] == 0
    assert config.canonical["models"]["m"]["slots"] == 4


def test_a_model_wins_over_the_server_and_its_arguments_come_last(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        models:
          a: {engine: llama-server, gguf: a.gguf, slots: 2, gpu_layers: all, args: [--jinja]}
          b: {engine: llama-server, gguf: b.gguf}
        server: {slots: 8, gpu_layers: 12, threads: 3, args: [--mlock], executable: llama-server}
        """,
    )
    a, b = config.models["a"], config.models["b"]
    assert (a.slots, a.gpu_layers, a.threads, a.args) == (2, "all", 3, ("--mlock", "--jinja"))
    assert (b.slots, b.gpu_layers, b.threads, b.args) == (8, 12, 3, ("--mlock",))


def test_an_endpoint_that_is_not_ours_takes_only_what_it_can_use(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        models:
          served: {engine: openai, url: 'http://127.0.0.1:8080/v1/', name: x7b, api_key_env: KEY}
        server: {slots: 3, context: 9, threads: 2, args: [--mlock]}
        """,
    )
    model = config.models["served"]
    assert (model.url, model.sent_name) == ("http://127.0.0.1:8080/v1", "x7b")
    assert (model.api_key_env, model.slots) == ("KEY", 3)
    assert (model.context, model.threads, model.args) == (None, None, ())


def test_exact_means_one_slot_whatever_the_server_says(tmp_path: Path) -> None:
    config = load(tmp_path, "models: {m: {engine: fake, exact: true}}\nserver: {slots: 8}")
    assert (config.models["m"].exact, config.models["m"].slots) == (True, 1)


def test_named_samplings_are_a_condition_each(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        FAKE + "repeats: 2\nsampling:\n  greedy: {temperature: 0}\n"
        "  warm: {temperature: 0.7, top_p: 0.95, stop: [a, b], repeats: 5}",
    )
    assert list(config.samplings) == ["greedy", "warm"]
    assert config.samplings["greedy"].repeats == 2
    assert config.samplings["warm"].repeats == 5
    warm = config.samplings["warm"].sampling
    assert (warm.temperature, warm.top_p, warm.seed, warm.stop) == (0.7, 0.95, 0, ("a", "b"))


def test_null_leaves_a_sampling_key_to_the_server(tmp_path: Path) -> None:
    config = load(tmp_path, FAKE + "sampling: {temperature: null, seed: ~, stop: x}")
    assert config.samplings[""].sampling == Sampling(256, stop=("x",))


@pytest.mark.parametrize(
    ("text", "share"), [("0.1%", 0.001), ("0.001", 0.001), ("5 %", 0.05), ("0", 0)]
)
def test_failures_are_a_percentage_or_a_fraction(tmp_path: Path, text: str, share: float) -> None:
    assert load(tmp_path, f"{FAKE}failures: {{at_most: {text}}}").failures_at_most == share


def test_paths_start_at_the_config_and_know_home_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    config = load(
        tmp_path,
        """\
        models:
          a: {engine: embedded, gguf: a.gguf}
          b: {engine: embedded, gguf: ~/b.gguf}
          c: {engine: embedded, gguf: '${STORE}/c.gguf', args: ['--x=${X}$$y']}
          d: {engine: llama-server, gguf: d.gguf, executable: ./bin/llama-server}
          e: {engine: llama-server, gguf: e.gguf, executable: llama-server}
          f: {engine: fake, script: rules.yaml}
          g: {engine: openai, url: 'http://127.0.0.1:${PORT}/v1'}
        """,
        STORE=str(tmp_path / "store"),
        X="1",
        PORT="8081",
    )
    folder = tmp_path / "config"
    models = config.models
    paths = [models[name].gguf for name in "abc"]
    assert paths == [folder / "a.gguf", tmp_path / "home/b.gguf", tmp_path / "store/c.gguf"]
    assert models["c"].args == ("--x=1$y",)
    assert models["d"].executable == str(folder / "bin" / "llama-server")
    assert models["e"].executable == "llama-server"
    assert models["f"].script == folder / "rules.yaml"
    assert models["g"].url == "http://127.0.0.1:8081/v1"


def test_the_digest_knows_neither_machine_nor_spelling(tmp_path: Path) -> None:
    text = "models:\n  m: {engine: embedded, gguf: '${STORE}/m.gguf', slots: 4}\n"
    here = load(tmp_path, text, STORE="/here")
    (tmp_path / "elsewhere").mkdir()
    reordered = "server: {}\nmodels: {m: {gguf: '${STORE}/m.gguf', engine: embedded}}"
    there = load(tmp_path / "elsewhere", reordered, STORE="/there")
    assert here.digest == there.digest
    assert "/here" not in str(here.canonical)
    assert len(here.digest) == 64


def test_the_digest_knows_every_setting(tmp_path: Path) -> None:
    settings = ["", "server.slots=2", "sampling.seed=1", "models.m.exact=true", "repeats=3"]
    digests = {load(tmp_path, FAKE, *filter(None, [text])).digest for text in settings}
    assert len(digests) == len(settings)


# Overrides ----------------------------------------------------------------------------------------


def test_overrides_replace_and_add_values_read_as_yaml(tmp_path: Path) -> None:
    text = FAKE + "sampling: {seed: 1}"
    config = load(tmp_path, text, "sampling.seed=9", "server.slots=2", "sampling.stop=[a, 'b c']")
    assert config.samplings[""].sampling.seed == 9
    assert config.samplings[""].sampling.stop == ("a", "b c")
    assert config.models["m"].slots == 2


def test_an_override_finds_a_model_whose_name_has_dots(tmp_path: Path) -> None:
    text = "models:\n  llama3.1: {engine: fake}\n  llama3: {engine: fake}"
    config = load(tmp_path, text, "models.llama3.1.slots=7")
    assert [model.slots for model in config.models.values()] == [7, 4]


def test_a_choice_of_prompts_is_none_of_the_configs(tmp_path: Path) -> None:
    overrides = parse_overrides(["prompts=terse, plain", "repeats=2", "prompts=terse"])
    assert overrides.prompts == ("terse", "plain")
    assert [(override.key, override.value) for override in overrides.config] == [("repeats", 2)]
    assert load(tmp_path, FAKE, "prompts=terse").digest == load(tmp_path, FAKE).digest


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("nonsense", "--llm-set nonsense: expected key=value, for instance server.slots=8"),
        ("=3", "--llm-set =3: expected key=value"),
        ("a..b=3", "--llm-set a..b=3: expected key=value"),
        ("prompts=", "--llm-set prompts=: expected prompt names"),
        ("server.slots=[1", "--llm-set server.slots=[1: not valid YAML"),
        ("repeats.x=1", "--llm-set repeats.x=1: 'repeats' is no mapping, it has no keys"),
        (
            "models.m.slot=3",
            "--llm-set models.m.slot=3: unknown key 'slot'; did you mean 'slots'? (allowed:",
        ),
        ("server.slots=No", "--llm-set server.slots=No: server.slots: expected a whole number"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, words: str) -> None:
    assert refusal(tmp_path, FAKE + "repeats: 1", override).startswith(words)


# Where it is --------------------------------------------------------------------------------------


def test_a_config_is_found_as_given_and_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    inside = tmp_path / "config" / "local.yaml"
    inside.write_text(FAKE, encoding="utf-8")
    found = [
        find_config(name, tmp_path) for name in ("local.yaml", "config/local.yaml", str(inside))
    ]
    assert found == [inside] * 3
    given = tmp_path / "local.yaml"
    given.write_text(FAKE, encoding="utf-8")
    assert find_config("local.yaml", tmp_path) == given


def test_a_config_that_is_nowhere_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "local.yaml").write_text(FAKE, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        find_config("locl.yaml", tmp_path)
    assert str(caught.value) == (
        f"no config 'locl.yaml': looked for {tmp_path / 'locl.yaml'} and "
        f"{tmp_path / 'config' / 'locl.yaml'}; did you mean 'local.yaml'?"
    )


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "modles: {}\nmodels: {m: {engine: fake}}",
            "local.yaml:1: unknown key 'modles'; did you mean 'models'? (allowed: models, server, ",
        ),
        ("server: {}", "local.yaml:1: the key 'models' is missing"),
        ("models: {}", "local.yaml:1: models: expected at least one entry"),
        ("models: [a]", "local.yaml:1: models: expected a mapping, found a list"),
        ("models:\n  m: tiny", "local.yaml:2: models.m: expected a mapping, found 'tiny'"),
        ("models:\n  m: {gguf: a}", "local.yaml:2: the key 'engine' is missing"),
        (
            "models:\n  m:\n    engine: embeded",
            (
                "local.yaml:3: models.m.engine: unknown engine 'embeded'; did you mean 'embedded'? "
                f"(allowed: {', '.join(ENGINES)})"
            ),
        ),
        (
            "models:\n  m: {engine: fake, slot: 2}",
            "local.yaml:2: unknown key 'slot'; did you mean 'slots'? (allowed: engine, gguf, ",
        ),
        ("models:\n  m: {engine: embedded}", "local.yaml:2: engine embedded needs the key 'gguf'"),
        (
            "models:\n  m: {engine: llama-server}",
            "local.yaml:2: engine llama-server needs the key 'gguf'",
        ),
        ("models:\n  m: {engine: openai}", "local.yaml:2: engine openai needs the key 'url'"),
        (
            "models:\n  m:\n    engine: openai\n    url: http://127.0.0.1/v1\n    gguf: a",
            "local.yaml:5: engine openai takes no 'gguf' (allowed: engine, name, role, slots, ",
        ),
        (
            "models:\n  m: {engine: embedded, gguf: a, url: 'http://127.0.0.1/v1'}",
            "local.yaml:2: engine embedded takes no 'url'",
        ),
        ("models:\n  m: {engine: fake, gguf: a}", "local.yaml:2: engine fake takes no 'gguf'"),
        (
            "models:\n  m: {engine: openai, url: 127.0.0.1:8080}",
            (
                "local.yaml:2: models.m.url: expected a URL such as http://127.0.0.1:8080/v1, "
                "found '127.0.0.1:8080'"
            ),
        ),
        (
            "models:\n  m: {engine: openai, url: '${HERE}'}",
            "local.yaml:2: models.m.url: the environment variable 'HERE' is not defined",
        ),
        (
            "models:\n  m: {engine: embedded, gguf: '${STORE}/a.gguf'}",
            (
                "local.yaml:2: models.m.gguf: the environment variable 'STORE' is not defined; "
                "write $$ for a $"
            ),
        ),
        (
            "models:\n  m: {engine: fake, exact: true, slots: 2}",
            "local.yaml:2: exact: true means one slot, found slots: 2",
        ),
        (
            "models:\n  m: {engine: embedded, gguf: a, gpu_layers: most}",
            (
                "local.yaml:2: models.m.gpu_layers: expected a number of layers from 0, or all, "
                "found 'most'"
            ),
        ),
        (
            "models:\n  m: {engine: fake, role: juge}",
            "local.yaml:2: models.m.role: unknown value 'juge'; did you mean 'judge'?",
        ),
        (
            "models:\n  m: {engine: fake, role: judge}",
            "local.yaml:1: no model has the role model, so that nothing would be asked",
        ),
        (
            "models:\n  m: {engine: fake}\njudge: n",
            "local.yaml:3: unknown model 'n' (allowed: m)",
        ),
        (
            "models:\n  m: {engine: fake}\n  v: {engine: fake, role: embedder}\njudge: v",
            "local.yaml:4: judge: v has the role embedder, which writes nothing; name another one",
        ),
        (
            "models:\n  m: {engine: fake, exact: yes}",
            "local.yaml:2: models.m.exact: expected true or false, found 'yes'",
        ),
        (
            "models:\n  m: {engine: fake, slots: true}",
            "local.yaml:2: models.m.slots: expected a whole number, found true",
        ),
        (
            "models:\n  m: {engine: fake, slots: 0}",
            "local.yaml:2: models.m.slots: expected at least 1, found 0",
        ),
        (
            "models:\n  m: {engine: fake, timeout: 0}",
            "local.yaml:2: models.m.timeout: expected more than 0, found 0",
        ),
        (
            "models:\n  m: {engine: fake, name: 7}",
            "local.yaml:2: models.m.name: expected a text, found 7",
        ),
        (
            "models:\n  a/b: {engine: fake}",
            (
                "local.yaml:2: the model name 'a/b' cannot be used: letters, digits, '.', '_' "
                "and '-' only, beginning with a letter or digit"
            ),
        ),
        (
            "models:\n  tiny: {engine: fake}\n  Tiny: {engine: fake}",
            "local.yaml:3: the names 'tiny' and 'Tiny' differ by case only",
        ),
        (
            "models:\n  gates: {engine: fake}",
            "local.yaml:2: the model name 'gates' is taken by the gates' tests",
        ),
        (
            FAKE + "server: {port: 1}",
            "local.yaml:2: unknown key 'port' (allowed: executable, slots,",
        ),
        (
            FAKE + "cache: off",
            "local.yaml:2: cache: expected a mapping, found 'off'; its keys are mode, size",
        ),
        (FAKE + "server: 4", "local.yaml:2: server: expected a mapping, found 4"),
        (FAKE + "server:\n  args: --x", "local.yaml:3: server.args: expected a list, found '--x'"),
        (
            FAKE + "sampling:\n  temprature: 1",
            "local.yaml:3: unknown key 'temprature'; did you mean 'temperature'? (allowed: max_",
        ),
        (
            FAKE + "sampling: {temperature: -1}",
            "local.yaml:2: sampling.temperature: expected at least 0",
        ),
        (FAKE + "sampling: {top_p: 1.5}", "local.yaml:2: sampling.top_p: expected at most 1"),
        (
            FAKE + "sampling: {seed: -1}",
            "local.yaml:2: sampling.seed: expected at least 0, found -1",
        ),
        (FAKE + "sampling: {max_tokens: 1e999}", "local.yaml:2: sampling.max_tokens: expected a"),
        (
            FAKE + "sampling:\n  warm:\n    top_k: x",
            "local.yaml:4: sampling.warm.top_k: expected a whole number, found 'x'",
        ),
        (
            FAKE + "sampling:\n  temperature: 1\n  warm: {top_k: 3}",
            (
                "local.yaml:3: sampling holds named samplings, and 'temperature' is none: write it "
                "inside each of them, or give no sampling a name"
            ),
        ),
        (
            FAKE + "sampling:\n  too warm: {top_k: 3}",
            "local.yaml:3: the sampling name 'too warm' cannot be used: letters,",
        ),
        (FAKE + "repeats: 0", "local.yaml:2: repeats: expected at least 1, found 0"),
        (
            FAKE + "failures: {at_most: 3}",
            (
                "local.yaml:2: failures.at_most: expected a fraction from 0 to 1 or a percentage "
                "such as 0.1%, found 3"
            ),
        ),
        (FAKE + "failures: {at_most: 101%}", "local.yaml:2: failures.at_most: expected a fraction"),
    ],
)
def test_each_mistake_has_its_place_and_its_words(tmp_path: Path, text: str, words: str) -> None:
    assert refusal(tmp_path, text).startswith(words)


def test_all_mistakes_of_a_file_are_told_at_once_in_its_order(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path,
        "repeats: none\nmodels:\n  a: {engine: fake, slots: x}\n  b: {engine: fak}\nservers: {}\n",
    ).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"local.yaml:{n}" for n in (1, 3, 4, 5)]


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("api_key: abcdef", "api_key"),
        ("apikey: abcdef", "apikey"),
        ("token: abcdef", "token"),
        ("api_key_env: sk-abcdefabcdefabcdef", "api_key_env"),
        ("name: sk-abcdefabcdefabcdef", "name"),
        ("args: [--jinja, sk-proj-abcdefabcdefabcdef]", "args"),
        ("args: [--api-key, abcdef]", "args"),
        ("url: 'http://me:abcdef@127.0.0.1/v1'", "url"),
    ],
)
def test_a_secret_is_refused_and_never_printed(tmp_path: Path, entry: str, key: str) -> None:
    words = refusal(
        tmp_path, f"models:\n  m:\n    engine: fake\n    {entry}\n    slots: wrong too\n"
    )
    assert words.startswith("local.yaml:4: ")
    assert repr(key) in words
    assert "name the variable: api_key_env: MY_API_KEY" in words
    assert "abcdef" not in words


def test_a_secret_in_place_of_a_variables_name_is_not_printed(tmp_path: Path) -> None:
    words = refusal(
        tmp_path,
        "models:\n  m: {engine: openai, url: 'http://127.0.0.1', api_key_env: abc-def}",
    )
    assert words.startswith(
        "local.yaml:2: models.m.api_key_env: expected the name of an environment"
    )
    assert "abc-def" not in words


def test_a_secret_in_an_override_is_not_printed(tmp_path: Path) -> None:
    words = refusal(tmp_path, FAKE, "models.m.api_key=abcdef", "models.m.api_key_env=abcdef-g")
    assert "name the variable" in words
    assert "abcdef" not in words


@pytest.mark.parametrize(
    "entry",
    [
        "gguf: /data/hf_downloads/x.gguf",
        "gguf: hf_downloads",
        "gguf: sk-learn-8b-q4.gguf",
        "gguf: 'C:\\models\\hf_downloads\\x.gguf'",
        "args: [--lora, /data/hf_downloads/lora.gguf]",
    ],
)
def test_a_path_is_no_token_although_a_part_of_it_looks_like_one(
    tmp_path: Path, entry: str
) -> None:
    more = "" if entry.startswith("gguf") else "    gguf: x.gguf\n"
    path = tmp_path / "local.yaml"
    path.write_text(f"models:\n  m:\n    engine: embedded\n    {entry}\n{more}", encoding="utf-8")
    assert load_config(path).models["m"].gguf is not None


@pytest.mark.parametrize("variable", ["SERVED_KEY", "OTHER"])
def test_a_name_that_a_variable_makes_a_secret_is_refused(tmp_path: Path, variable: str) -> None:
    environment = {"SERVED_KEY": "plain-but-secret", "OTHER": "sk-proj-abcdefabcdef"}
    keys = f"name: '${{{variable}}}', api_key_env: SERVED_KEY"
    model = f"{{engine: openai, url: 'http://127.0.0.1:9', {keys}}}"
    words = refusal(tmp_path, f"models:\n  m: {model}\n", **environment)
    assert "models.m.name: a variable gives it what looks like a secret, no name; put it" in words
    assert "plain-but-secret" not in words
    assert "abcdef" not in words


@pytest.mark.parametrize(
    "entry",
    [
        "gguf: 'https://me:abcdef@host/x.gguf'",
        "args: ['--token=sk-proj-abcdefabcdef']",
        "args: ['--header', 'X-Key: sk-proj-abcdefabcdef']",
    ],
)
def test_a_secret_inside_a_longer_text_is_still_one(tmp_path: Path, entry: str) -> None:
    words = refusal(tmp_path, f"models:\n  m:\n    engine: embedded\n    {entry}\n")
    assert "looks like a secret" in words
    assert "abcdef" not in words


def test_a_judge_and_a_role_are_in_the_canonical_config_only_where_they_are_given(
    tmp_path: Path,
) -> None:
    """So that a run of an older version can be continued."""
    path = tmp_path / "local.yaml"
    path.write_text("models:\n  m: {engine: fake}\n", encoding="utf-8")
    plain = load_config(path)
    assert "judge" not in plain.canonical
    assert "role" not in plain.canonical["models"]["m"]
    assert (plain.judge, plain.models["m"].role) == (None, "model")
    text = "models:\n  m: {engine: fake}\n  j: {engine: fake, role: judge}\njudge: j\n"
    path.write_text(text, encoding="utf-8")
    judged = load_config(path)
    assert judged.canonical["judge"] == judged.judge == "j"
    assert judged.canonical["models"]["j"]["role"] == judged.models["j"].role == "judge"


def test_a_cache_too_small_for_its_own_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("models: {a: {engine: fake}}\ncache: {size: 10 KB}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected at least 1 MiB, found '10 KB'; mode: off"):
        load_config(path)
