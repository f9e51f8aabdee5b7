"""The models that come with the project: small, the same without torch, and as good as their card says."""

from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from evals.benchmarks import household
from evals.statistics import clustered
from evals.tiny.chat import ANSWER, MODELS, shipped, tiny_model
from evals.tiny.language import ASSISTANT, END, PAD, USER, tokenizer
from evals.tiny.measure import homes, measure
from evals.tiny.runtime import Runtime
from linmem_langgraph import LinearReader, Memory, transcript
from linmem_langgraph.readers._linear.prompt import memory_message, question_lines
from linmem_langgraph.readers.base import Query

pytestmark = pytest.mark.timeout(600)

EVERY = pytest.mark.parametrize("name", shipped())
BENCHMARK = household.load(None)
SAMPLES = [sample for sample in BENCHMARK.samples if sample.memory == "home_03"]

LEAST = {"hybrid": {8: 0.88, 32: 0.62}, "linear": {8: 0.89, 32: 0.66}, "softmax": {8: 0.53, 32: 0.37}}
"""Answers that are right, by number of clips: what the card says, less what so few questions leave open."""


def test_what_is_shipped() -> None:
    assert shipped() == ["hybrid", "linear", "softmax"]
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) < 8e6


@EVERY
def test_it_knows_the_words_there_are(name: str) -> None:
    assert Runtime(MODELS / name).tokenizer.to_str() == tokenizer().to_str()


@EVERY
def test_it_says_what_it_says_in_transformers(torch: Any, name: str) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    runtime, words = Runtime(MODELS / name), tokenizer()
    # Its cache wants a layer of attention, which not every model has.
    how = {"use_cache": False, "eos_token_id": words.token_to_id(END), "pad_token_id": words.token_to_id(PAD)}
    for sample in SAMPLES:
        known = [
            record for record in BENCHMARK.memories[sample.memory] if (record.position or 0) <= (sample.until or 0)
        ]
        asked = question_lines(Query(text=sample.question))
        prompt = words.encode(f"{USER}{memory_message(transcript.render(known))}\n{asked}{ASSISTANT}").ids
        with torch.no_grad():
            logits = model(torch.tensor([prompt]), use_cache=False).logits[0, -1]
            said = model.generate(torch.tensor([prompt]), max_new_tokens=128, do_sample=False, **how)[0].tolist()
        state = runtime.read(runtime.empty(), prompt)
        assert abs(state.logits - logits.numpy()).max() < 1e-3
        assert words.decode(runtime.write(state, 128)) == words.decode(said[len(prompt) :])


@EVERY
@pytest.mark.parametrize("clips", [8, 32])
def test_it_reads_as_well_as_its_card_says(name: str, clips: int) -> None:
    with Memory(LinearReader(tiny_model(name), max_tokens=ANSWER), store=InMemoryStore()) as memory:
        found = measure(memory, homes(clips, 120, seed="tests"))
    right = clustered((result.household, float(result.is_right)) for result in found)
    assert right is not None
    assert right.mean >= LEAST[name][clips]
