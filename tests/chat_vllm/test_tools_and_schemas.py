"""Tool calls and schemas pass, whole and in a stream."""

from collections.abc import Callable

from langchain_core.messages import HumanMessage, ToolMessage
from pydantic import BaseModel

from linmem_langgraph.vllm import ChatVLLM
from tests.chat_vllm.server import QUESTION, Server, calls, merged, reply, search_memory, stream, thought


class Report(BaseModel):
    """What was seen."""

    thing: str
    clip: int


async def test_tool_calls_pass(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = reply(tool_calls=calls('{"query": "mug"}', '{"query": '), reasoning="Search.")
    model = make(model="tiny")
    bound = model.bind_tools([search_memory])
    for message in (bound.invoke(QUESTION), await bound.ainvoke(QUESTION)):
        assert message.tool_calls == [
            {"name": "search_memory", "args": {"query": "mug"}, "id": "call-0", "type": "tool_call"}
        ]
        assert [call["args"] for call in message.invalid_tool_calls] == ['{"query": ']
        assert (message.text, thought(message)) == ("", "Search.")
    [declared] = server.bodies[0]["tools"]
    assert declared["function"]["name"] == "search_memory"
    model.invoke([HumanMessage(QUESTION), message, ToolMessage("[0] ...", tool_call_id="call-0")])
    _, called, result = server.bodies[-1]["messages"]
    assert sorted(called) == ["content", "role", "tool_calls"]
    assert called["content"] is None
    assert called["tool_calls"][0]["function"] == {"name": "search_memory", "arguments": '{"query": "mug"}'}
    assert result == {"role": "tool", "content": "[0] ...", "tool_call_id": "call-0"}


def test_tool_calls_pass_in_a_stream_after_a_thought(server: Server, make: Callable[..., ChatVLLM]) -> None:
    [call] = calls('{"query": ')
    rest = {"index": 0, "function": {"arguments": '"mug"}'}}
    server.reply = stream("<think>Sea", "rch.</think>", "\n\n", {"tool_calls": [call]}, {"tool_calls": [rest]})
    message = merged(list(make(model="tiny").bind_tools([search_memory]).stream(QUESTION)))
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("search_memory", {"query": "mug"})]
    assert (message.text, thought(message)) == ("", "Search.")


async def test_a_schema_is_filled(server: Server, make: Callable[..., ChatVLLM]) -> None:
    server.reply = reply('{"thing": "mug", "clip": 3}', reasoning="A mug.")
    model = make(model="tiny").with_structured_output(Report, method="json_schema")
    assert model.invoke(QUESTION) == await model.ainvoke(QUESTION) == Report(thing="mug", clip=3)
    assert server.bodies[0]["response_format"]["json_schema"]["name"] == "Report"
    server.reply = stream({"reasoning": "A mug."}, '{"thing": "mug",', ' "clip": 3}')
    streaming = make(model="tiny").with_structured_output(Report.model_json_schema(), method="json_schema")
    assert list(streaming.stream(QUESTION))[-1] == {"thing": "mug", "clip": 3}
