"""The loop over a `LinearReader` on a real server, whose words are replaced by the records that match."""

import base64
import gzip
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from evals.rows import Prediction, RowFile, added
from graphs.extractive import ExtractiveChatModel
from graphs.m3_agent import create_m3_agent
from linmem_langgraph import Memory, create_search_memory_tool
from linmem_langgraph.namespaces import Namespace
from tests.evals.support import ROOT
from tests.proxy import Proxy

MODEL = "tiny-hybrid"
TOLD = [
    *(f"Clip {place}: Cleo waters plant number {place} on the balcony, and hums." for place in range(30)),
    "Anna puts the red mug on the shelf.",
    "Bert takes the red mug from the shelf.",
]


def ask(memory: Memory, namespace: Namespace, protocol: Any, until: int | None = None) -> dict[str, Any]:
    search = create_search_memory_tool(memory, namespace=namespace, until=until)
    graph = create_m3_agent([search], ExtractiveChatModel(), protocol=protocol).compile()
    return graph.invoke({"messages": [HumanMessage("Who takes or puts the red mug?")]})


@pytest.mark.parametrize("protocol", ["m3", "tool_calls"])
def test_an_agent_answers_from_what_the_model_wrote(memory: Memory, namespace: Namespace, protocol: str) -> None:
    memory.write(namespace, TOLD)
    memory.flush()
    for until, said in ((31, "Bert takes"), (30, "Anna puts"), (29, None)):
        state = ask(memory, namespace, protocol, until)
        (result,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
        artifact = result.artifact
        assert (artifact["reader"], artifact["model"], artifact["until"]) == ("linear", MODEL, until)
        assert artifact["usage"]["cached_tokens"] > 0
        assert all(hit["record"]["position"] <= until for hit in artifact["records"])
        if said is None:
            assert "red mug" not in result.text
            assert state["answer"] == "Not in memory."
        else:
            assert said in state["answer"]
            assert [hit["record"]["text"] for hit in artifact["records"]][-1] == TOLD[until]


def test_an_agent_is_told_that_its_memory_is_gone_and_goes_on(
    proxy: Proxy, memory: Memory, namespace: Namespace
) -> None:
    memory.write(namespace, TOLD)
    memory.flush()
    proxy.target = None
    state = ask(memory, namespace, "tool_calls")
    (result,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert result.status == "error"
    assert f"memory is unavailable: {proxy.base_url}" in result.text
    assert "vllm serve" in result.text
    assert state["answer"] == "Not in memory."


def test_a_run_over_the_bundled_benchmark(proxy: Proxy, tmp_path: Path) -> None:
    changes = {
        "limit": 1,
        "controller.model": "offline:extractive",
        "reader.options.base_url": proxy.base_url,
        "reader.options.max_tokens": 16,
    }
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "evals",
        "run",
        "-c",
        "linear",
        "--no-cache",
        "--out",
        str(tmp_path / "run"),
    ]
    command += [argument for name, value in changes.items() for argument in ("--set", f"{name}={value}")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(RowFile(tmp_path / "run" / "predictions.jsonl").read(Prediction))
    assert len(rows) == len({row.memory for row in rows}) > 10
    assert [row.error for row in rows if row.error] == []
    assert all(row.searches == 1 and row.reader.completion > 0 for row in rows)
    used = added(row.reader for row in rows)
    assert 0.4 < used.cached / used.prompt < 1
    assert sum(set(row.evidence) <= set(row.shown) for row in rows) > len(rows) / 4
    assert {message["written"]["model"] for row in rows for message in row.messages if "written" in message} == {MODEL}
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert f"{used.prompt + used.completion:,} ({used.cached:,})" in report
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    packed = max(re.findall(r"[A-Za-z0-9+/=]{1000,}", page), key=len)  # the rows: see evals.report_html
    assert MODEL in gzip.decompress(base64.b64decode(packed)).decode()
