"""The M3-Agent loop: a controller reasons, searches memory, and answers.

    START -> reason -> memory -> reason -> ... -> END
                  \\-> (turn unreadable) reason     |
             rounds spent: answer ----------------> END

`reason` always leaves an `AIMessage`; a search is a tool call on it, whatever protocol the controller speaks, so that
`memory` is an ordinary `ToolNode`. The last of `max_rounds` rounds is `answer`, which must answer. In a trace the runs
of `reason` and `answer` tell in their metadata which `round` they are.
Source: M3-Agent (arXiv 2508.09736), its control loop of 5 rounds.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from typing_extensions import TypedDict

from graphs.dialogue import TURNS, shown_records
from graphs.prompts import PROMPTS, Prompts
from linmem_langgraph.errors import ConfigError
from linmem_langgraph.traces import annotate

Protocol = Literal["tool_calls", "m3"]


class M3Input(TypedDict):
    """What the graph is invoked with: the question, as the last human message."""

    messages: Annotated[list[AnyMessage], add_messages]


class M3State(M3Input):
    """The dialogue and what the loop keeps beside it, for the question at hand.

    `seen`: the positions that searches have shown; `seen_keys`: the keys of the records they have shown, which later
    ones leave out; `rounds`: how many have begun; `unparsable`: how many turns were empty or could not be read;
    `answer`: the final answer, empty while there is none; `forced`: whether it took the last round.
    """

    seen: NotRequired[list[int]]
    seen_keys: NotRequired[list[str]]
    rounds: NotRequired[int]
    unparsable: NotRequired[int]
    answer: NotRequired[str]
    forced: NotRequired[bool]


class M3Update(TypedDict):
    """What a round changes."""

    messages: list[AIMessage]
    seen: list[int]
    seen_keys: list[str]
    rounds: int
    unparsable: int
    answer: str
    forced: bool


def create_m3_agent(
    tools: Sequence[BaseTool],
    model: BaseChatModel,
    *,
    protocol: Protocol = "tool_calls",
    max_rounds: int = 5,
    prompts: Prompts | None = None,
    context_schema: type[Any] | None = None,
) -> StateGraph[M3State, Any, M3Input, M3State]:
    """The loop, uncompiled: `create_m3_agent(...).compile().invoke({"messages": [("user", question)]})["answer"]`.

    Args:
        tools: what the controller may call; the m3 protocol searches with the first that takes a `query`.
        model: the controller, any chat model; for "tool_calls" one that calls tools.
        protocol: "tool_calls", or "m3", the text protocol of M3-Agent's own controller.
        max_rounds: how many turns the controller has, the last of which must answer; 1 = no search at all.
        prompts: other wordings than `graphs.prompts` has.
        context_schema: of the run-time context, which may fill the fields of the tools' namespaces.

    Raises:
        ConfigError: an argument is invalid; when it runs: the last message is no question.
    """
    if protocol not in TURNS:
        raise ConfigError(f"unknown protocol {protocol!r}; choose {', '.join(TURNS)}")
    if not tools:
        raise ConfigError("tools is empty: pass at least create_search_memory_tool(...)")
    if max_rounds < 1:
        raise ConfigError(f"max_rounds is {max_rounds}: give 1 or more")
    turn = TURNS[protocol](tools, model, prompts or PROMPTS[protocol])

    def round_(state: M3State, *, last: bool) -> M3Update:
        current, shown = _current(state), shown_records(state["messages"])
        annotate(round=current["rounds"] + 1)
        message, answer = turn(state["messages"], last)
        if last and message.tool_calls:
            # Nobody will answer these calls; some providers keep them in the content, too.
            message = message.model_copy(update={"tool_calls": [], "content": str(message.text)})
        return {
            "messages": [message],
            "rounds": current["rounds"] + 1,
            "unparsable": current["unparsable"] + (not answer and not message.tool_calls),
            "seen": sorted({*current["seen"], *(record["position"] for record in shown)}),
            "seen_keys": sorted({*current["seen_keys"], *(record["key"] for record in shown)}),
            "answer": answer,
            "forced": last,
        }

    def reason(state: M3State) -> M3Update:
        return round_(state, last=False)

    def answer(state: M3State) -> M3Update:
        return round_(state, last=True)

    def next_round(state: M3State) -> Literal["reason", "answer"]:
        return "reason" if _current(state)["rounds"] < max_rounds - 1 else "answer"

    def after_reason(state: M3State) -> str:
        last = state["messages"][-1]
        if isinstance(last, AIMessage) and last.tool_calls:
            return "memory"
        return END if state.get("answer") else next_round(state)

    graph = StateGraph(M3State, context_schema=context_schema, input_schema=M3Input)
    graph.add_node("reason", reason)
    graph.add_node("memory", ToolNode(list(tools)))
    graph.add_node("answer", answer)
    graph.add_conditional_edges(START, next_round, ["reason", "answer"])
    graph.add_conditional_edges("reason", after_reason, ["memory", "reason", "answer", END])
    graph.add_conditional_edges("memory", next_round, ["reason", "answer"])
    graph.add_edge("answer", END)
    return graph


def _current(state: M3State) -> M3State:
    """The state, from scratch when a new question has come into an old thread."""
    messages = state["messages"]
    if messages and isinstance(messages[-1], HumanMessage):
        return {"messages": messages, "seen": [], "seen_keys": [], "rounds": 0, "unparsable": 0}
    if "rounds" not in state:
        raise ConfigError("there is no question: the last of the messages must be a human one")
    return state
