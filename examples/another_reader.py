"""Chroma exchanged for a language model that reads the whole memory: one line, the same log, both asked the same.

python examples/another_reader.py

The memory is a day of the bundled household. It is read by the model on the vLLM server at VLLM_BASE_URL if that is
set, else by linmem-tiny, a linear-attention model of a million parameters that comes with the repository, runs in this
process and knows nothing but such households. For figures: `make demo`.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.table import Table

from evals.benchmarks import household
from evals.samples import Sample
from linmem_langgraph import LinearReader, Memory, create_search_memory_tool
from linmem_langgraph.embeddings import LexicalEmbeddings
from offline_model import chosen_model

HOME = "home_00"
NAMESPACE = ("homes", HOME)
QUESTIONS = 12


def reading_model() -> BaseChatModel:
    """The model that reads the memory."""
    if os.environ.get("VLLM_BASE_URL"):
        from linmem_langgraph.vllm import ChatVLLM

        return ChatVLLM()
    from evals.tiny.chat import tiny_model

    return tiny_model("hybrid")


def ask(model: BaseChatModel, memory: Memory, samples: list[Sample]) -> list[str]:
    """What an agent with the search tool answers to each question, asked as of its place in the day."""
    answers = []
    for sample in samples:
        search = create_search_memory_tool(memory, namespace=NAMESPACE, until=sample.until)
        asked: Any = {"messages": [("user", sample.question)]}
        state = create_agent(model, [search]).invoke(asked)
        answers.append(state["messages"][-1].text)
    return answers


def main(model: BaseChatModel, folder: Path, reads: BaseChatModel | None = None) -> None:
    """Both readers over one folder."""
    home = household.load()
    samples = [sample for sample in home.samples if sample.memory == HOME][:QUESTIONS]
    reads = reads or reading_model()

    with Memory.open(folder / "memory", embeddings=LexicalEmbeddings()) as memory:
        memory.write(NAMESPACE, home.memories[HOME])
        nearest = ask(model, memory, samples)

    # The one line that changes; nothing is written again.
    with Memory.open(folder / "memory", LinearReader(reads)) as memory:
        read = ask(model, memory, samples)
        whole = memory.read(NAMESPACE, samples[-1].question)

    table = Table("question", "answer", "over Chroma", "over the linear reader", title=f"{HOME}, the same log twice")
    for sample, *answers in zip(samples, nearest, read, strict=True):
        table.add_row(sample.question, sample.answer, *answers)
    console = Console(highlight=False)
    console.width = max(console.width, 120)
    console.print(table)
    records, usage = len(home.memories[HOME]), whole.usage
    print(f"{whole.model} read {records} records: {usage.prompt_tokens} tokens, {usage.cached_tokens} from kept state.")


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        main(chosen_model(), Path(made))
