"""The tables that are defined: each row has a config, each figure a place."""

import pytest

from evals.config import load_config
from evals.tables import published
from evals.tables.measuring import CONFIGS, RETRIEVAL
from evals.tables.tables import TABLES, Table
from tests.evals.support import ROOT


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_each_row_has_a_config_and_each_column_fits_it(table: Table) -> None:
    for row in table.rows:
        for column in table.columns if row.config else ():
            config = load_config(CONFIGS / f"{row.config}.yaml", dict(column.changes))
            assert config.wording()


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_each_cell_has_a_published_figure(table: Table) -> None:
    assert set(table.measures) <= {"accuracy", *RETRIEVAL}
    for row in table.rows:
        for column in table.columns:
            for measure in table.measures:
                assert row.published.get(column.name) or row.published.get(measure), (row.name, column.name, measure)


def test_figures_as_printed() -> None:
    figures = {row.name: row.published for row in TABLES["main"].rows}
    assert figures["kimi"] == {"robot": "28.0", "web": "54.0"}
    assert {row.name: row.published for row in TABLES["models"].rows}["rwkv"]["MRR"] == "0.021"
    assert {row.name: row.published for row in TABLES["retrieval"].rows}["kimi"]["10"] == "56.0 / 56.5"


def test_every_config_of_the_folder_is_a_row_or_the_context_s() -> None:
    rows = {row.config for table in TABLES.values() for row in table.rows}
    there = {file.relative_to(CONFIGS).with_suffix("").as_posix() for file in CONFIGS.rglob("*.yaml")}

    assert there == rows - {None}
    assert published.CONTEXT.keys() <= there
