"""A run of M3-Bench over made-up captions, killed and resumed, on a real server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.bench.rehearsal import orders, run, tables, write_data
from evals.bench.state_reuse.servers import MATCH, Server
from evals.rows import Prediction, RowFile
from evals.tiny.chat import MODELS
from evals.vllm_cpu.server import VllmServer
from tests.evals.support import shared


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """The first three videos of the robot half."""
    videos = json.loads(shared("m3bench", "robot.json").read_bytes())
    file = tmp_path / "robot.json"
    file.write_text(json.dumps(dict(list(videos.items())[:3])))
    return file


@pytest.fixture
def server(vllm_servers: Callable[..., VllmServer]) -> Server:
    made = vllm_servers(weights=MODELS / "hybrid", max_model_len=32_768, arguments=MATCH)
    return Server(made.base_url)


def test_a_run_that_is_killed_on_its_way_answers_every_question_once(
    annotations: Path, server: Server, tmp_path: Path, say: Callable[[str], None]
) -> None:
    data = write_data(annotations, tmp_path / "data")

    whole = run(data, server, tmp_path, 2, say)
    found = orders(data, server)

    rows = list(RowFile(tmp_path / "run" / "predictions.jsonl").read(Prediction))
    assert whole.rows == whole.questions == len(rows) > 20
    assert (whole.errors, len(whole.kills)) == (0, 2)
    assert 0 < whole.kills[0] <= whole.kills[1] < whole.questions
    assert whole.tokens.cached / whole.tokens.prompt > 0.5
    assert whole.read[0] > whole.tokens.prompt > 0
    first = next(iter(json.loads(annotations.read_bytes()).values()))
    assert [order.reads for order in found] == [len(first["qa_list"])] * 2
    assert all(order.read[0] > order.read[1] > 0 for order in found)
    assert len(tables(whole, found)) == 2
