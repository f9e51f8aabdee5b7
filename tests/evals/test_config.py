"""A set-up: every key checked, and a hash that changes exactly with what affects predictions."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from evals.config import RunConfig, config_hash, load_config
from evals.readers import configured_reader
from graphs.prompts import PROMPTS
from linmem_langgraph.errors import ConfigError
from tests.evals.support import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def config_file(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_loads_and_its_reader_can_be_made(file: Path, tmp_path: Path) -> None:
    config = load_config(file)

    assert config.name == file.stem
    reader = configured_reader(config.reader, tmp_path)
    assert reader.name == config.reader.name
    reader.close()


def test_there_are_configs() -> None:
    assert {"demo", "chroma"} <= {file.stem for file in CONFIGS}


def test_a_name_is_enough(tmp_path: Path) -> None:
    assert load_config(config_file(tmp_path, "name: mine")) == RunConfig(name="mine")


def test_a_resolved_config_loads_as_it_was(tmp_path: Path) -> None:
    config = load_config(ROOT / "configs" / "demo.yaml", {"benchmark.data": "/tmp/x", "limit": "3", "ranking": "0"})

    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)

    assert load_config(config_file(tmp_path, text)) == config


def test_changes_go_over_the_file(tmp_path: Path) -> None:
    file = config_file(tmp_path, "name: a\nreader: {options: {limit: 3, by: position}}\n")

    config = load_config(
        file,
        {
            "name": "b",
            "reader.options.limit": "7",
            "controller.options.temperature": "0.5",
            "controls": "[oracle]",
            "limit": "null",
        },
    )

    assert config.name == "b"
    assert config.reader.options == {"limit": 7, "by": "position"}
    assert config.controller.options == {"temperature": 0.5}
    assert config.controls == ("oracle",)
    assert config.limit is None


@pytest.mark.parametrize(
    "place",
    ["", "benchmark", "reader", "controller", "judge", "judge.model"],
)
def test_an_unknown_key_is_named_at_any_depth(tmp_path: Path, place: str) -> None:
    name = f"{place}.tpyo".strip(".")
    file = config_file(tmp_path, "name: a\njudge: {kind: model, model: {model: 'offline:extractive'}}\n")

    with pytest.raises(ConfigError) as caught:
        load_config(file, {name: "1"})

    assert str(file) in str(caught.value)
    assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "value", "said"),
    [
        ("protocol", "m4", "'tool_calls' or 'm3'"),
        ("controls", "[blnd]", "'blind' or 'oracle'"),
        ("controls", "blind", "controls"),
        ("judge.kind", "lexicl", "'lexical', 'keywords' or 'model'"),
        ("judge.parse", "loose", "'strict' or 'official'"),
        ("max_rounds", "0", "max_rounds"),
        ("max_rounds", "many", "max_rounds"),
        ("ranking", "-1", "ranking"),
        ("concurrency", "0", "concurrency"),
        ("limit", "0", "limit"),
        ("seed", "null", "seed"),
        ("name", "[a]", "name"),
        ("reader", "chroma", "reader"),
        ("reader.options", "3", "reader.options"),
        ("name.first", "a", "name"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config_file(tmp_path, "name: a"), {change: value})

    assert change.split(".")[0] in str(caught.value)
    assert said in str(caught.value)


def test_a_change_that_is_not_yaml_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name"):
        load_config(config_file(tmp_path, "name: a"), {"name": "["})


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "text", "3"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="expected keys and values"):
        load_config(config_file(tmp_path, text))


@pytest.mark.parametrize("text", ["name: [", "name: a\n\tb: c", "name: *nobody", "!!python/object:os.system {}"])
def test_what_is_not_yaml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the config .*config\.yaml"):
        load_config(config_file(tmp_path, text))


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"name: \xff\xfe")

    with pytest.raises(ConfigError, match="cannot read the config"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("place", [".", "missing.yaml"])
def test_what_cannot_be_read_is_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / place)

    assert str(tmp_path / place) in str(caught.value)


def test_a_name_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="field 'name'"):
        load_config(config_file(tmp_path, "seed: 1"))


def test_a_config_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig(name="a").seed = 3  # type: ignore[misc]


def test_prompts_are_the_protocol_s_unless_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text(yaml.safe_dump({"system": "s", "instruction": "i", "final": "f"}))

    assert RunConfig(name="a", protocol="m3").wording() == PROMPTS["m3"]
    assert RunConfig(name="a", prompts=file).wording().system == "s"
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        RunConfig(name="a", prompts=tmp_path / "missing.yaml").wording()


BASE = RunConfig(name="a")


def changed(**changes: Any) -> RunConfig:
    return RunConfig.model_validate({**BASE.model_dump(), **changes})


@pytest.mark.parametrize("arm", ["main", "blind", "oracle"])
@pytest.mark.parametrize(
    "change",
    [
        {"controller": {"model": "openai:gpt-5-mini"}},
        {"controller": {"options": {"temperature": 1}}},
        {"protocol": "m3"},
        {"max_rounds": 4},
    ],
    ids=str,
)
def test_the_hash_changes_with_what_every_arm_depends_on(change: dict[str, Any], arm: str) -> None:
    assert config_hash(changed(**change), arm, "data") != config_hash(BASE, arm, "data")


@pytest.mark.parametrize(
    "change",
    [{"reader": {"name": "linear"}}, {"reader": {"options": {"limit": 4}}}, {"ranking": 30}],
    ids=str,
)
def test_the_hash_changes_with_what_the_main_arm_alone_depends_on(change: dict[str, Any]) -> None:
    assert config_hash(changed(**change), "main", "data") != config_hash(BASE, "main", "data")
    if "reader" in change:
        assert config_hash(changed(**change), "blind", "data") == config_hash(BASE, "blind", "data")
        assert config_hash(changed(**change), "oracle", "data") == config_hash(BASE, "oracle", "data")


@pytest.mark.parametrize("arm", ["blind", "oracle"])
def test_the_hash_of_a_control_does_not_depend_on_the_ranking(arm: str) -> None:
    assert config_hash(changed(ranking=30), arm, "data") == config_hash(BASE, arm, "data")


@pytest.mark.parametrize("arm", ["main", "blind", "oracle"])
@pytest.mark.parametrize(
    "change",
    [
        {"name": "b"},
        {"benchmark": {"data": "/elsewhere"}},
        {"judge": {"kind": "model", "model": {"model": "offline:extractive"}}},
        {"controls": ["blind", "oracle"]},
        {"compared": {"other": {"name": "linear"}}},
        {"concurrency": 7},
        {"limit": 3},
        {"seed": 3},  # the seed stands beside the hash in a row's key
    ],
    ids=str,
)
def test_the_hash_does_not_change_with_what_predictions_do_not_depend_on(change: dict[str, Any], arm: str) -> None:
    assert config_hash(changed(**change), arm, "data") == config_hash(BASE, arm, "data")


def test_the_hash_of_what_is_compared_depends_on_that_reader_only() -> None:
    both = {"one": {"options": {"limit": 1}}, "two": {"options": {"limit": 2}}}
    config, other = changed(compared=both), changed(compared={**both, "two": {"options": {"limit": 3}}})

    assert config_hash(changed(compared=both, reader={"name": "linear"}), "one", "data") == config_hash(
        config, "one", "data"
    )
    assert config_hash(other, "one", "data") == config_hash(config, "one", "data")
    assert config_hash(other, "two", "data") != config_hash(config, "two", "data")


@pytest.mark.parametrize("name", ["main", "blind", "oracle", "", "A", "../up"])
def test_what_is_compared_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValidationError, match="compared"):
        changed(compared={name: {}})


def test_every_key_is_known_to_the_tests_of_the_hash() -> None:
    depends = {"controller", "protocol", "max_rounds", "reader", "ranking", "prompts"}
    ignored = {"name", "benchmark", "judge", "compared", "controls", "concurrency", "limit", "seed"}

    assert set(RunConfig.model_fields) == depends | ignored


def test_the_hash_tells_arms_and_data_apart() -> None:
    hashes = [config_hash(BASE, arm, data) for arm in ("main", "blind", "oracle") for data in ("one", "other")]

    assert len(set(hashes)) == 6
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in hashes)


def test_the_hash_goes_by_the_prompts_words_not_by_their_file(tmp_path: Path) -> None:
    wording = PROMPTS["tool_calls"].model_dump()
    same, other = tmp_path / "same.yaml", tmp_path / "other.yaml"
    same.write_text(yaml.safe_dump(wording))
    other.write_text(yaml.safe_dump({**wording, "final": "Answer!"}))

    assert config_hash(changed(prompts=same), "main", "data") == config_hash(BASE, "main", "data")
    assert config_hash(changed(prompts=other), "main", "data") != config_hash(BASE, "main", "data")
