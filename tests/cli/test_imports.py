"""A command loads no more than it needs."""

import subprocess
import sys
from pathlib import Path

from tests.cli.running import LEXICAL, Argument


def imported_by(*arguments: Argument) -> set[str]:
    """The packages loaded when the command has ended."""
    source = (
        "import sys\nfrom linmem_langgraph.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True)
    assert done.returncode == 0
    return set(done.stderr.decode().split())


def test_help_loads_next_to_nothing() -> None:
    heavy = {"chromadb", "openai", "langchain_openai", "langchain_core", "langgraph", "numpy", "rich", "yaml", "httpx"}
    assert imported_by("--help") & heavy == set()
    assert imported_by("write", "--help") & heavy == set()
    assert "pydantic" not in imported_by("--help")


def test_the_log_s_commands_load_no_reader(anna: Path) -> None:
    heavy = {"chromadb", "onnxruntime", "openai", "langchain_openai", "httpx"}
    for arguments in (("records", anna), ("records", anna, "users/anna"), ("export", anna, "users/anna", "-")):
        assert imported_by(*arguments) & heavy == set()


def test_the_probe_sees_what_is_imported(anna: Path) -> None:
    assert "chromadb" in imported_by("read", anna, "users/anna", "Oslo", *LEXICAL)
