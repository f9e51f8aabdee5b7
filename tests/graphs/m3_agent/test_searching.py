"""The loop, run with a real memory and a controller whose words are fixed."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.memory import InMemoryStore

from graphs.extractive import ExtractiveChatModel
from graphs.m3_agent import M3Input, M3State, Protocol, create_m3_agent
from graphs.prompts import M3, TOOL_CALLS, Prompts
from graphs.protocol import EMPTY_HINT
from linmem_langgraph import (
    ChromaReader,
    ConfigError,
    Memory,
    NamespaceError,
    ReaderUnavailable,
    Reading,
    create_manage_memory_tool,
    create_search_memory_tool,
)
from linmem_langgraph.embeddings import LexicalEmbeddings
from linmem_langgraph.log import Log
from linmem_langgraph.readers.base import Query
from tests.graphs.conftest import CLIPS, NAMESPACE
from tests.graphs.scripted import ScriptedChatModel, answering, calling, scripted, searching

QUESTION = "Where is the red mug?"
Graph = CompiledStateGraph[M3State, None, M3Input, M3State]
Compile = Callable[..., Graph]

both = pytest.mark.parametrize("protocol", ["tool_calls", "m3"])


def ask(question: str = QUESTION) -> M3Input:
    return {"messages": [HumanMessage(question)]}


def run(graph: Graph, question: str = QUESTION) -> dict[str, Any]:
    return dict(graph.invoke(ask(question)))


def nodes(graph: Graph) -> list[str]:
    return [node for update in graph.stream(ask(), stream_mode="updates") for node in update]


def tool_messages(state: Mapping[str, Any]) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def shown(message: ToolMessage) -> list[int]:
    """The positions a search has returned, as its artifact tells."""
    return sorted({hit["record"]["position"] for hit in message.artifact["records"]})


@pytest.fixture
def agent(search: BaseTool) -> Compile:
    """Compiles the loop over the search tool."""

    def compile(model: Any, protocol: Protocol = "tool_calls", *, checkpointer: Any = None, **options: Any) -> Graph:
        return create_m3_agent([search], model, protocol=protocol, **options).compile(checkpointer=checkpointer)

    return compile


# What a run leaves


@both
def test_a_search_is_an_ordinary_tool_run_in_either_protocol(
    agent: Compile, memory: Memory, protocol: Protocol
) -> None:
    model = scripted(searching(protocol, "Who puts the red mug on the table?"), answering(protocol, "On the table."))
    state = run(agent(model, protocol))
    question, asked, found, answered = state["messages"]
    assert isinstance(question, HumanMessage)
    assert isinstance(asked, AIMessage)
    assert isinstance(found, ToolMessage)
    assert isinstance(answered, AIMessage)
    [call] = asked.tool_calls
    assert (call["name"], call["args"]) == ("search_memory", {"query": "Who puts the red mug on the table?"})
    assert call["id"]
    assert (found.name, found.tool_call_id, found.status) == ("search_memory", call["id"], "success")
    assert found.text == "[0] Lily puts the red mug on the table.\n[0] Lily says: good morning."
    assert [hit["record"]["text"] for hit in found.artifact["records"]] == CLIPS[0]
    assert {key: state[key] for key in state if key != "messages"} == {
        "answer": "On the table.",
        "rounds": 2,
        "seen": [0],
        "seen_keys": sorted(record.key or "" for record in memory.records(NAMESPACE, until=0)),
        "unparsable": 0,
        "forced": False,
    }
    json.dumps(found.artifact)


@both
def test_an_answer_at_once_needs_no_search(agent: Compile, protocol: Protocol) -> None:
    graph = agent(scripted(answering(protocol, "On the table.")), protocol)
    assert nodes(graph) == ["reason"]


@both
def test_nothing_is_asked_of_the_model_after_its_answer(agent: Compile, protocol: Protocol) -> None:
    """The reference's `finished_is_noop`."""
    model = scripted(answering(protocol, "zzz"), forever=True)
    assert run(agent(model, protocol))["answer"] == "zzz"
    assert len(model.calls) == 1


def test_an_m3_answer_is_verbatim(agent: Compile) -> None:
    model = scripted(answering("m3", '  Émile said: "Action!" 咖啡\n'))
    assert run(agent(model, "m3"))["answer"] == '  Émile said: "Action!" 咖啡\n'


def test_a_tool_calling_answer_is_trimmed(agent: Compile) -> None:
    assert run(agent(scripted("\n On the table. \n")))["answer"] == "On the table."


# What the controller is shown


def test_what_a_tool_calling_controller_is_shown(agent: Compile) -> None:
    model = scripted(calling("red mug on the table"), "On the table.")
    state = run(agent(model))
    first, second = model.calls
    assert first.types == ["system", "human"]
    assert first.texts == [TOOL_CALLS.system, QUESTION]
    assert second.types == ["system", "human", "ai", "tool"]
    assert second.messages[1:] == state["messages"][:3]
    assert first.tools == second.tools == ["search_memory"]


def test_what_an_m3_controller_is_shown(agent: Compile) -> None:
    model = scripted(searching("m3", "red mug on the table"), searching("m3", "coffee machine"), answering("m3", "x"))
    run(agent(model, "m3"))
    system = M3.system.replace("{question}", QUESTION)
    found = [f'Searched knowledge: {{"CLIP_{clip}": ["{CLIPS[clip][0]}", "{CLIPS[clip][1]}"]}}' for clip in (0, 1)]
    turns = [str(searching("m3", query).content) for query in ("red mug on the table", "coffee machine")]
    assert [call.texts for call in model.calls] == [
        [system, "Searched knowledge: {}" + M3.instruction],
        [system, "Searched knowledge: {}", turns[0], found[0] + M3.instruction],
        [system, "Searched knowledge: {}", turns[0], found[0], turns[1], found[1] + M3.instruction],
    ]
    assert [call.types for call in model.calls] == [
        ["system", "human"],
        ["system", "human", "ai", "human"],
        ["system", "human", "ai", "human", "ai", "human"],
    ]
    assert not any(call.tools for call in model.calls)
    assert not any(
        message.tool_calls for call in model.calls for message in call.messages if isinstance(message, AIMessage)
    )


def test_an_m3_controller_is_told_that_a_result_is_empty(agent: Compile) -> None:
    model = scripted(searching("m3", "xylophone"), answering("m3", "x"))
    run(agent(model, "m3"))
    assert model.calls[1].texts[-1] == f"Searched knowledge: {{}}\n{EMPTY_HINT}{M3.instruction}"


def test_a_tool_calling_controller_is_told_that_a_result_is_empty(agent: Compile) -> None:
    model = scripted(calling("xylophone"), "x")
    run(agent(model))
    assert model.calls[1].texts[-1] == "Nothing in memory matches."


@both
def test_the_last_round_says_that_it_is_the_last(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 2, answering(protocol, "x"))
    run(agent(model, protocol, max_rounds=3))
    final = (M3 if protocol == "m3" else TOOL_CALLS).final
    assert [call.texts[-1].endswith(final) for call in model.calls] == [False, False, True]


@both
def test_other_wordings_can_be_given(agent: Compile, protocol: Protocol) -> None:
    prompts = Prompts(system="S {question} {other} {", instruction="\nI", final="\nF", empty="E")
    model = scripted(searching(protocol, "red mug"), "", searching(protocol, "coat"), answering(protocol, "x"))
    run(agent(model, protocol, max_rounds=4, prompts=prompts))
    assert {call.texts[0] for call in model.calls} == {f"S {QUESTION} {{other}} {{"}
    assert [call.texts[-1].rpartition("\n")[2] for call in model.calls] == ["I", "I", "I", "F"]
    assert sum("E\n\nI" in text for call in model.calls for text in call.texts) == (protocol == "tool_calls")


def test_a_question_may_look_like_a_template(agent: Compile) -> None:
    question = "What is {question} in {0} or %s \\1?"
    model = scripted(answering("m3", "x"))
    run(agent(model, "m3"), question)
    assert model.calls[0].texts[0] == M3.system.replace("{question}", question)


@both
def test_a_question_may_be_given_in_blocks(agent: Compile, protocol: Protocol) -> None:
    model = scripted(answering(protocol, "x"))
    message = HumanMessage([{"type": "text", "text": "Where is "}, {"type": "text", "text": "the red mug?"}])
    agent(model, protocol).invoke({"messages": [message]})
    assert QUESTION in "\n".join(model.calls[0].texts)


@both
def test_the_question_is_the_last_human_message(agent: Compile, protocol: Protocol) -> None:
    model = scripted(answering(protocol, "x"))
    messages: list[AnyMessage] = [
        SystemMessage("Be kind."),
        HumanMessage("Hello"),
        AIMessage("Hi"),
        HumanMessage(QUESTION),
    ]
    agent(model, protocol).invoke({"messages": messages})
    said = "\n".join(model.calls[0].texts)
    assert QUESTION in said
    assert ("Hello" in said) == (protocol == "tool_calls")  # an m3 dialogue is about one question


# Searching again


@both
def test_what_was_shown_is_not_shown_again(agent: Compile, protocol: Protocol) -> None:
    query = "Who has the red mug?"
    model = scripted(*[searching(protocol, query)] * 4, answering(protocol, "x"))
    state = run(agent(model, protocol))
    found = [shown(message) for message in tool_messages(state)]
    assert sorted(found[:3]) == [[0], [1], [4]]
    assert found[3] == []
    assert state["seen"] == [0, 1, 4]


@both
def test_what_was_shown_last_is_in_the_state_after_an_answer(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "Anna hangs a blue coat"), answering(protocol, "x"))
    assert run(agent(model, protocol))["seen"] == [2]


@both
def test_what_was_shown_last_is_in_the_state_after_a_forced_answer(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "Anna hangs a blue coat"), answering(protocol, "x"))
    assert run(agent(model, protocol, max_rounds=2))["seen"] == [2]


def test_one_turn_may_search_several_times(agent: Compile) -> None:
    model = scripted(calling("red mug on the table", "blue coat on the rack"), calling("Anna blue coat rack"), "x")
    state = run(agent(model))
    assert [shown(message) for message in tool_messages(state)[:2]] == [[0], [2]]
    assert 2 not in shown(tool_messages(state)[2])
    assert {0, 2} <= set(state["seen"])
    assert model.calls[1].types == ["system", "human", "ai", "tool", "tool"]
    assert state["rounds"] == 3


def test_other_tools_can_be_called_too(memory: Memory, search: BaseTool) -> None:
    remember = create_manage_memory_tool(memory, namespace=NAMESPACE)
    turn = calling("red mug on the table")
    turn.tool_calls.append(
        {"name": "manage_memory", "args": {"content": "Asked about the mug."}, "id": "2", "type": "tool_call"}
    )
    model = scripted(turn, "x")
    state = run(create_m3_agent([remember, search], model).compile())
    assert state["seen"] == [0]
    assert memory.records(NAMESPACE)[-1].text == "Asked about the mug."
    assert model.calls[0].tools == ["manage_memory", "search_memory"]


def test_the_m3_protocol_searches_with_the_tool_that_takes_a_query(memory: Memory) -> None:
    remember = create_manage_memory_tool(memory, namespace=NAMESPACE)
    look = create_search_memory_tool(memory, namespace=NAMESPACE, name="look")
    model = scripted(searching("m3", "red mug on the table"), answering("m3", "x"))
    state = run(create_m3_agent([remember, look], model, protocol="m3").compile())
    assert [message.name for message in tool_messages(state)] == ["look"]


@both
def test_nothing_later_than_until_is_found(memory: Memory, protocol: Protocol) -> None:
    search = create_search_memory_tool(memory, namespace=NAMESPACE, until=1)
    model = scripted(*[searching(protocol, "Jack washes the red mug in the sink")] * 4, answering(protocol, "x"))
    assert run(create_m3_agent([search], model, protocol=protocol).compile())["seen"] == [0, 1]


@both
def test_the_memory_may_use_the_store_of_the_graph(tmp_path: Path, protocol: Protocol) -> None:
    store = InMemoryStore()
    reader = ChromaReader(tmp_path, embeddings=LexicalEmbeddings())
    with Memory(reader, store=store) as writer, Memory(reader) as memory:
        writer.write(NAMESPACE, "Lily puts the red mug on the table.")
        search = create_search_memory_tool(memory, namespace=NAMESPACE)
        model = scripted(searching(protocol, "red mug"), answering(protocol, "x"))
        graph = create_m3_agent([search], model, protocol=protocol).compile(store=store)
        assert tool_messages(run(graph))[0].text == "[0] Lily puts the red mug on the table."


@both
@pytest.mark.parametrize("how", ["context", "configurable"])
def test_the_namespace_may_come_from_the_run(memory: Memory, protocol: Protocol, how: str) -> None:
    search = create_search_memory_tool(memory, namespace=("video", "{video_id}"))
    model = scripted(searching(protocol, "red mug on the table"), answering(protocol, "x"))
    graph: Any = create_m3_agent([search], model, protocol=protocol).compile()
    values = {"video_id": "kitchen_99"}
    given = {"context": values} if how == "context" else {"config": {"configurable": values}}
    assert graph.invoke(ask(), **given)["seen"] == [0]


def test_a_namespace_that_cannot_be_told_is_an_error_for_the_developer(memory: Memory) -> None:
    search = create_search_memory_tool(memory, namespace=("video", "{video_id}"))
    graph = create_m3_agent([search], scripted(calling("red mug"), "x")).compile()
    with pytest.raises(NamespaceError, match="video_id"):
        run(graph)


# Rounds


@both
@pytest.mark.parametrize("max_rounds", [1, 2, 5])
def test_max_rounds_counts_every_call_of_the_model(agent: Compile, protocol: Protocol, max_rounds: int) -> None:
    model = scripted(searching(protocol, "red mug"), forever=True)
    graph = agent(model, protocol, max_rounds=max_rounds)
    assert nodes(graph) == ["reason", "memory"] * (max_rounds - 1) + ["answer"]
    assert len(model.calls) == max_rounds


@both
def test_there_are_five_rounds(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 4, answering(protocol, "In the sink."))
    state = run(agent(model, protocol))
    assert (state["answer"], state["rounds"], state["forced"], state["unparsable"]) == ("In the sink.", 5, True, 0)
    assert len(tool_messages(state)) == 4


@both
def test_an_answer_in_the_last_free_round_is_not_forced(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 3, answering(protocol, "x"))
    state = run(agent(model, protocol))
    assert (state["rounds"], state["forced"]) == (4, False)


@both
def test_a_single_round_answers_without_a_search(agent: Compile, protocol: Protocol) -> None:
    model = scripted(answering(protocol, "On the table."))
    state = run(agent(model, protocol, max_rounds=1))
    assert (state["answer"], state["rounds"], state["forced"], state["seen"]) == ("On the table.", 1, True, [])


@both
def test_a_forced_turn_that_still_searches_has_not_answered(agent: Compile, protocol: Protocol) -> None:
    model = scripted(*[searching(protocol, "red mug")] * 5)
    state = run(agent(model, protocol))
    assert (state["answer"], state["rounds"], state["forced"], state["unparsable"]) == ("", 5, True, 1)
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    assert not last.tool_calls, "a call without a result would make the thread unusable"


@both
def test_a_forced_turn_that_is_empty_has_not_answered(agent: Compile, protocol: Protocol) -> None:
    state = run(agent(scripted(""), protocol, max_rounds=1))
    assert (state["answer"], state["forced"], state["unparsable"]) == ("", True, 1)


@both
def test_many_rounds_fit_in_langgraphs_own_limit(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), forever=True)
    state = run(agent(model, protocol, max_rounds=40))
    assert (state["rounds"], len(model.calls), len(tool_messages(state))) == (40, 40, 39)


def test_a_smaller_limit_of_the_caller_is_langgraphs_error(agent: Compile) -> None:
    graph = agent(scripted(calling("red mug"), forever=True), max_rounds=40)
    with pytest.raises(GraphRecursionError, match="10"):
        graph.invoke(ask(), {"recursion_limit": 10})


# Turns that cannot be read


@pytest.mark.parametrize("empty", ["", " \n", AIMessage([]), AIMessage([{"type": "text", "text": ""}])])
def test_an_empty_turn_is_not_sent_back_to_a_tool_calling_controller(agent: Compile, empty: AIMessage | str) -> None:
    model = scripted(empty, calling("red mug on the table"), "x")
    state = run(agent(model))
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("x", 3, 1)
    assert model.calls[1].texts == [TOOL_CALLS.system, f"{QUESTION}\n\n{TOOL_CALLS.empty}"]
    assert model.calls[2].types == ["system", "human", "ai", "tool"], "the reminder does not stay"


@pytest.mark.parametrize(
    "unreadable", ["", "I do not know", "Action: [Search]\nContent: ", "<think>Action: [Answer] Content: x"]
)
def test_an_unreadable_turn_is_an_empty_search_to_an_m3_controller(agent: Compile, unreadable: str) -> None:
    model = scripted(unreadable, answering("m3", "x"))
    graph = agent(model, "m3")
    assert nodes(graph) == ["reason", "reason"]
    assert model.calls[1].types == ["system", "human", "ai", "human"]
    assert model.calls[1].texts[2] == unreadable or not unreadable
    assert model.calls[1].texts[3:] == [f"Searched knowledge: {{}}\n{EMPTY_HINT}{M3.instruction}"]


@both
def test_unreadable_turns_cost_rounds_and_are_counted(agent: Compile, protocol: Protocol) -> None:
    model = scripted("", forever=True)
    graph = agent(model, protocol)
    assert nodes(graph) == ["reason"] * 4 + ["answer"]
    state = run(agent(scripted("", forever=True), protocol))
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("", 5, 5)


def test_the_last_round_after_an_empty_turn_does_not_invite_a_search(agent: Compile) -> None:
    model = scripted("", "x")
    assert run(agent(model, max_rounds=2))["answer"] == "x"
    assert model.calls[1].texts == [TOOL_CALLS.system, f"{QUESTION}\n\n{TOOL_CALLS.final}"]


def test_a_tool_that_does_not_exist_is_an_error_the_model_sees(agent: Compile) -> None:
    model = scripted(calling("red mug", name="serach"), calling("red mug on the table"), "x")
    state = run(agent(model))
    wrong, right = tool_messages(state)
    assert wrong.status == "error"
    assert "serach" in wrong.text
    assert "search_memory" in wrong.text
    assert model.calls[1].texts[-1] == wrong.text
    assert (state["answer"], shown(right), state["rounds"], state["unparsable"]) == ("x", [0], 3, 0)


@pytest.mark.parametrize(
    "args", [{}, {"q": "red mug"}, {"query": "red mug", "limit": 0}, {"query": "x", "filter": {"a": {"$no": 1}}}]
)
def test_arguments_a_tool_refuses_are_an_error_the_model_sees(agent: Compile, args: dict[str, Any]) -> None:
    wrong = AIMessage("", tool_calls=[{"name": "search_memory", "args": args, "id": "1"}])
    model = scripted(wrong, calling("red mug on the table"), "x")
    state = run(agent(model))
    assert [message.status for message in tool_messages(state)] == ["error", "success"]
    assert model.calls[1].messages[-1].text == tool_messages(state)[0].text
    assert (state["answer"], state["seen"]) == ("x", [0])


def test_an_empty_query_is_an_error_the_model_sees(agent: Compile) -> None:
    state = run(agent(scripted(calling("  "), "x")))
    assert tool_messages(state)[0].status == "error"
    assert state["answer"] == "x"


def garbled(text: str = "", *queries: str) -> AIMessage:
    """A turn with a call whose arguments are not JSON, and calls that are."""
    bad = invalid_tool_call(name="search_memory", args='{"query": ', id="bad", error="not JSON")
    return AIMessage(text, tool_calls=calling(*queries).tool_calls, invalid_tool_calls=[bad])


def test_a_garbled_call_is_an_empty_turn(agent: Compile) -> None:
    model = scripted(garbled(), "x")
    state = run(agent(model))
    assert (state["answer"], state["rounds"], state["unparsable"]) == ("x", 2, 1)
    assert model.calls[1].texts == [TOOL_CALLS.system, f"{QUESTION}\n\n{TOOL_CALLS.empty}"]


def test_what_is_said_beside_a_garbled_call_is_no_answer(agent: Compile) -> None:
    state = run(agent(scripted(garbled("Let me look."), "x")))
    assert (state["answer"], state["unparsable"]) == ("x", 1)


def test_a_garbled_call_beside_a_good_one_does_not_stay_unanswered(agent: Compile) -> None:
    model = scripted(garbled("", "red mug on the table"), "x")
    state = run(agent(model))
    answered = {message.tool_call_id for message in tool_messages(state)}
    for message in model.calls[1].messages:
        if isinstance(message, AIMessage):
            assert {call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]} <= answered


def test_what_is_said_beside_a_search_is_no_answer(agent: Compile) -> None:
    state = run(agent(scripted(calling("red mug on the table", text="Let me look."), "x")))
    assert (state["answer"], state["seen"]) == ("x", [0])


# Thoughts and blocks


@both
def test_content_may_be_blocks(agent: Compile, protocol: Protocol) -> None:
    def blocks(message: AIMessage) -> AIMessage:
        thought = {"type": "reasoning", "reasoning": "Action: [Search]\nContent: nonsense"}
        text = [{"type": "text", "text": message.text}] if message.text else []
        return AIMessage([thought, *text], tool_calls=message.tool_calls)

    model = scripted(blocks(searching(protocol, "red mug on the table")), blocks(answering(protocol, "x")))
    state = run(agent(model, protocol))
    assert (state["answer"], state["seen"], state["unparsable"]) == ("x", [0], 0)


def test_a_thought_alone_is_an_empty_turn(agent: Compile) -> None:
    model = scripted(AIMessage([{"type": "reasoning", "reasoning": "Hm."}]), "x")
    state = run(agent(model))
    assert (state["answer"], state["unparsable"]) == ("x", 1)


def test_an_m3_controller_thinks_before_it_acts(agent: Compile) -> None:
    turn = "<think>Action: [Answer]\nContent: the sink?</think>\nAction: [Search]\nContent: red mug on the table"
    model = scripted(turn, "The mug... </think>Action: [Answer]\nContent: On the table.")
    state = run(agent(model, "m3"))
    assert (state["answer"], state["seen"]) == ("On the table.", [0])


@pytest.mark.parametrize("max_rounds", [1, 5])
def test_a_thought_in_the_text_is_not_part_of_the_answer(agent: Compile, max_rounds: int) -> None:
    model = scripted("<think>The mug... on the table?</think>\n\nOn the table.")
    assert run(agent(model, max_rounds=max_rounds))["answer"] == "On the table."


# Failures


class Breaking(ChromaReader):
    """A reader that cannot be reached for its first read."""

    down = True

    def read(self, log: Log, query: Query) -> Reading:
        if self.down:
            self.down = False
            raise ReaderUnavailable("Chroma at 127.0.0.1:1 does not answer; start it with: chroma run")
        return super().read(log, query)


@both
def test_a_memory_that_is_down_is_an_error_the_model_sees(tmp_path: Path, protocol: Protocol) -> None:
    with Memory(Breaking(tmp_path, embeddings=LexicalEmbeddings()), store=InMemoryStore()) as memory:
        memory.write(NAMESPACE, "Lily puts the red mug on the table.")
        search = create_search_memory_tool(memory, namespace=NAMESPACE)
        model = scripted(*[searching(protocol, "red mug")] * 2, answering(protocol, "x"))
        state = run(create_m3_agent([search], model, protocol=protocol).compile())
    assert [message.status for message in tool_messages(state)] == ["error", "success"]
    said = model.calls[1].texts[-1]
    assert "memory is unavailable: Chroma at 127.0.0.1:1 does not answer" in said
    assert EMPTY_HINT not in said, "a failure is never an empty result"
    assert (state["answer"], state["seen"], state["rounds"]) == ("x", [0], 3)
    if protocol == "m3":
        assert said.startswith("Searched knowledge: {}\n(memory is unavailable: ")


@both
def test_a_model_that_times_out_fails_the_run(agent: Compile, protocol: Protocol) -> None:
    graph = agent(scripted(searching(protocol, "red mug"), TimeoutError("no answer in 60 s")), protocol)
    with pytest.raises(TimeoutError, match="no answer in 60 s"):
        run(graph)
    graph = agent(scripted(searching(protocol, "red mug"), TimeoutError("no answer in 60 s")), protocol)
    with pytest.raises(TimeoutError, match="no answer in 60 s"):
        asyncio.run(graph.ainvoke(ask()))


@both
def test_a_run_that_failed_goes_on_where_it_was(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug on the table"), TimeoutError(), answering(protocol, "x"))
    graph = agent(model, protocol, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    with pytest.raises(TimeoutError):
        graph.invoke(ask(), thread)
    state = graph.invoke(None, thread)
    assert (state["answer"], state["rounds"], state["seen"]) == ("x", 2, [0])
    assert model.calls[1].texts == model.calls[2].texts


@tool
def recall(query: str) -> str:
    """Look something up."""
    return f"It is in the sink ({query})."


def test_an_m3_controller_sees_what_a_tool_without_an_artifact_says() -> None:
    model = scripted(searching("m3", "red mug"), answering("m3", "x"))
    run(create_m3_agent([recall], model, protocol="m3").compile())
    assert "It is in the sink (red mug)." in model.calls[1].texts[-1]
    assert EMPTY_HINT not in model.calls[1].texts[-1]


@tool(response_format="content_and_artifact")
def retrieve(query: str) -> tuple[str, list[Document]]:
    """Look something up, as LangChain's retriever tools do."""
    return "It is in the sink.", [Document("It is in the sink.", metadata={"query": query})]


@both
def test_other_tools_may_have_artifacts_of_their_own(protocol: Protocol) -> None:
    turn = searching(protocol, "red mug") if protocol == "m3" else calling("red mug", name="retrieve")
    model = scripted(turn, answering(protocol, "x"))
    state = run(create_m3_agent([retrieve], model, protocol=protocol).compile())
    assert (state["answer"], state["seen"]) == ("x", [])
    assert "It is in the sink." in model.calls[1].texts[-1]


# Ways to run it


def _invoke(graph: Graph) -> dict[str, Any]:
    return dict(graph.invoke(ask()))


def _ainvoke(graph: Graph) -> dict[str, Any]:
    return dict(asyncio.run(graph.ainvoke(ask())))


def _stream(graph: Graph) -> dict[str, Any]:
    return dict(list(graph.stream(ask(), stream_mode="values"))[-1])


def _astream(graph: Graph) -> dict[str, Any]:
    async def last() -> dict[str, Any]:
        return dict([state async for state in graph.astream(ask(), stream_mode="values")][-1])

    return asyncio.run(last())


@both
@pytest.mark.parametrize("way", [_invoke, _ainvoke, _stream, _astream])
def test_every_way_to_run_it_ends_the_same(
    agent: Compile, protocol: Protocol, way: Callable[[Graph], dict[str, Any]]
) -> None:
    model = scripted(
        *[searching(protocol, "red mug")] * 2, "", searching(protocol, "blue coat"), answering(protocol, "x y")
    )
    state = way(agent(model, protocol))
    assert (state["answer"], state["rounds"], state["unparsable"], state["forced"]) == ("x y", 5, 1, True)
    assert [message.type for message in state["messages"]] == ["human", *["ai", "tool"] * 2, "ai", "ai", "tool", "ai"]
    assert len(tool_messages(state)) == 3


@both
def test_tokens_stream_with_the_node_they_come_from(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), answering(protocol, "It is on the table."))
    streamed: list[Any] = list(agent(model, protocol, max_rounds=2).stream(ask(), stream_mode="messages"))
    pieces = [(message, meta["langgraph_node"]) for message, meta in streamed]
    forced = [message.text for message, node in pieces if node == "answer" and isinstance(message, AIMessageChunk)]
    assert len(forced) > 5
    assert "".join(forced).endswith("It is on the table.")
    assert [node for message, node in pieces if isinstance(message, ToolMessage)] == ["memory"]


@both
async def test_tokens_stream_without_blocking(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), answering(protocol, "It is on the table."))
    graph = agent(model, protocol)
    pieces: list[Any] = [piece async for piece, _ in graph.astream(ask(), stream_mode="messages")]
    said = [piece.text for piece in pieces if isinstance(piece, AIMessageChunk)]
    assert "".join(said).endswith("It is on the table.")
    assert len(said) > 5


@both
async def test_events_tell_an_ordinary_tool_run(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug on the table"), answering(protocol, "On the table."))
    events = [event async for event in agent(model, protocol).astream_events(ask(), version="v2")]
    named = [(event["event"], event["name"]) for event in events]
    assert named.count(("on_tool_start", "search_memory")) == named.count(("on_tool_end", "search_memory")) == 1
    assert named.count(("on_chat_model_end", "ScriptedChatModel")) == 2
    assert ("on_chat_model_stream", "ScriptedChatModel") in named
    assert {"reason", "memory"} <= {name for kind, name in named if kind == "on_chain_start"}
    [end] = [event for event in events if event["event"] == "on_tool_end"]
    assert end["metadata"]["langgraph_node"] == "memory"
    assert end["data"]["output"].artifact["records"]
    assert end["data"]["input"] == {"query": "red mug on the table"}


@both
def test_a_thread_takes_another_question(agent: Compile, protocol: Protocol) -> None:
    first: list[AIMessage | str] = [
        searching(protocol, "red mug on the table"),
        searching(protocol, "xylophone"),
        "",
        answering(protocol, "one"),
    ]
    second = [searching(protocol, "red mug on the table"), answering(protocol, "two")]
    model = scripted(*first, *second)
    graph = agent(model, protocol, max_rounds=4, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    state = graph.invoke(ask(), thread)
    assert (state["answer"], state["rounds"], state["unparsable"], state["forced"]) == ("one", 4, 1, True)
    steps = list(graph.stream(ask("And where is it now?"), thread, stream_mode="values"))
    state = steps[-1]
    assert (state["answer"], state["rounds"], state["unparsable"], state["forced"]) == ("two", 2, 0, False)
    assert state["seen"] == [0], "what the first question has seen may be shown again"
    assert [step["answer"] for step in steps[1:]] == ["", "", "two"]
    assert ("And where is it now?" in model.calls[4].texts[-1]) == (protocol == "tool_calls")
    if protocol == "m3":
        assert model.calls[4].texts[1] == "Searched knowledge: {}" + M3.instruction
        assert "And where is it now?" in model.calls[4].texts[0]
        assert len(model.calls[4].texts) == 2


@both
def test_a_thread_survives_a_forced_turn_that_still_searched(agent: Compile, protocol: Protocol) -> None:
    model = scripted(searching(protocol, "red mug"), answering(protocol, "x"))
    graph = agent(model, protocol, max_rounds=1, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "1"}}
    assert graph.invoke(ask(), thread)["answer"] == ""
    assert graph.invoke(ask("And now?"), thread)["answer"] == "x"
    assert not any(message.tool_calls for message in model.calls[1].messages if isinstance(message, AIMessage))


@both
def test_one_graph_serves_several_threads_at_once(agent: Compile, protocol: Protocol) -> None:
    graph = agent(ExtractiveChatModel(), protocol)
    questions = {
        "Who hangs the blue coat?": [2],
        "Who washes the red mug in the sink?": [4],
        "Who says good morning?": [0],
    }
    with ThreadPoolExecutor(8) as pool:
        asked = list(questions) * 8
        states = list(pool.map(lambda question: run(graph, question), asked))
    assert [state["seen"] for state in states] == [questions[question] for question in asked]


# The graph itself


def test_it_is_an_uncompiled_graph_of_three_nodes(search: BaseTool) -> None:
    graph = create_m3_agent([search], scripted())
    assert isinstance(graph, StateGraph)
    assert list(graph.nodes) == ["reason", "memory", "answer"]
    assert graph.compile().checkpointer is None
    assert graph.compile().store is None


@both
def test_it_can_be_drawn(agent: Compile, protocol: Protocol) -> None:
    drawing = agent(scripted(), protocol).get_graph()
    assert set(drawing.nodes) == {"__start__", "reason", "memory", "answer", "__end__"}
    assert {(edge.source, edge.target) for edge in drawing.edges} == {
        ("__start__", "reason"),
        ("__start__", "answer"),
        ("reason", "memory"),
        ("reason", "reason"),
        ("reason", "answer"),
        ("reason", "__end__"),
        ("memory", "reason"),
        ("memory", "answer"),
        ("answer", "__end__"),
    }
    assert all(name in drawing.draw_mermaid() for name in ("reason", "memory", "answer"))


def test_its_input_is_messages_alone(agent: Compile) -> None:
    graph = agent(scripted())
    assert list(graph.get_input_jsonschema()["properties"]) == ["messages"]
    assert set(graph.get_output_jsonschema()["properties"]) == {
        "messages",
        "seen",
        "seen_keys",
        "rounds",
        "unparsable",
        "answer",
        "forced",
    }


@both
@pytest.mark.parametrize(
    "messages",
    [[], [SystemMessage("Be kind.")], [AIMessage("Hi")], [HumanMessage(QUESTION), AIMessage("Hi")]],
    ids=["none", "system", "ai", "answered"],
)
def test_a_question_must_be_there(agent: Compile, protocol: Protocol, messages: Sequence[Any]) -> None:
    graph = agent(scripted(answering(protocol, "x")), protocol)
    with pytest.raises(ConfigError, match=r"question|human"):
        graph.invoke({"messages": list(messages)})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"protocol": "m4"}, "unknown protocol 'm4'; choose tool_calls, m3"),
        ({"max_rounds": 0}, "max_rounds is 0: give 1 or more"),
        ({"max_rounds": -1}, "max_rounds is -1: give 1 or more"),
    ],
)
def test_a_bad_argument_is_named(search: BaseTool, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_m3_agent([search], scripted(), **options)
    assert str(caught.value) == named


def test_the_m3_protocol_needs_a_tool_that_takes_a_query(memory: Memory) -> None:
    tools = [create_manage_memory_tool(memory, namespace=NAMESPACE)]
    with pytest.raises(ConfigError, match="query"):
        create_m3_agent(tools, scripted(), protocol="m3")


@both
def test_a_loop_without_tools_is_refused(protocol: Protocol) -> None:
    with pytest.raises(ConfigError, match="tools is empty"):
        create_m3_agent([], scripted(), protocol=protocol)


def test_a_model_that_calls_no_tools_is_refused(search: BaseTool) -> None:
    with pytest.raises(ConfigError, match="tool"):
        create_m3_agent([search], FakeListChatModel(responses=["x"]))


def test_the_m3_protocol_takes_a_model_that_calls_no_tools(search: BaseTool) -> None:
    class Unable(ScriptedChatModel):
        def bind_tools(self, *args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError

    model = Unable(replies=[searching("m3", "red mug on the table"), answering("m3", "x")])
    assert run(create_m3_agent([search], model, protocol="m3").compile())["answer"] == "x"


def test_m3_wordings_must_show_the_question(search: BaseTool) -> None:
    prompts = Prompts(system="Answer.", instruction="i", final="f")
    with pytest.raises(ConfigError, match="question"):
        create_m3_agent([search], scripted(), protocol="m3", prompts=prompts)
