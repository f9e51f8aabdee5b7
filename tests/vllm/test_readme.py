"""The README's code for a served model runs as it stands there, but for the server's address."""

from pathlib import Path
from typing import Any

import pytest

from evals.vllm_cpu.server import VllmServer
from linmem_langgraph import Memory
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.readers._linear.prompt import INSTRUCTIONS
from tests.docs.pages import ROOT, blocks


def test_the_block_for_a_served_model_reads_what_another_reader_wrote(
    vllm_server: VllmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Memory.open("my_memory", embeddings=LexicalEmbeddings()) as memory:
        memory.write(("users", "anna"), ["Anna is allergic to nuts.", "Anna lives in Oslo."])
    (block,) = [found.code for found in blocks(ROOT / "README.md", "python") if "LinearReader" in found.code]
    names: dict[str, Any] = {}
    exec(compile(block.replace("http://127.0.0.1:8000/v1", vllm_server.base_url), "README.md", "exec"), names)
    names["memory"].close()
    reading = names["reading"]
    assert reading.model == vllm_server.model
    assert reading.text
    assert reading.usage.prompt_tokens > len(INSTRUCTIONS)
    assert capsys.readouterr().out.startswith(reading.text)
