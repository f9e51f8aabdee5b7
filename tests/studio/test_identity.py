"""Memory of one's own beside a team's, which some agents can read and not write, told by the authenticated user."""

from types import SimpleNamespace
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import ToolMessage

from linmem_langgraph import Memory
from linmem_langgraph.middleware import MemoryMiddleware
from linmem_langgraph.tools import Action
from tests.graphs.scripted import ScriptedChatModel, scripted, using

ANNA = SimpleNamespace(identity="anna", team="oslo")
BERT = SimpleNamespace(identity="bert", team="oslo")
CLEO = SimpleNamespace(identity="cleo", team="rome")


def run(memory: Memory, model: ScriptedChatModel, user: Any, team: tuple[Action, ...] = ("create",)) -> list[str]:
    """One turn of an agent for `user`, whose team's memory it may change as `team` says; what its tools said."""
    own = MemoryMiddleware(memory, namespace=("users", "{user_id}"), recall=True)
    shared = MemoryMiddleware(memory, namespace=("teams", "{team}"), name="team", actions=team, recall=True)
    agent: Any = create_agent(model, middleware=[own, shared])
    state = agent.invoke(
        {"messages": [("user", "Where is the office key?")]}, {"configurable": {"langgraph_auth_user": user}}
    )
    return [message.text for message in state["messages"] if isinstance(message, ToolMessage)]


def test_what_one_tells_the_team_its_members_know_and_nobody_else(memory: Memory) -> None:
    run(memory, scripted(using("manage_team", content="The office key is under the mat."), "Told."), ANNA)
    run(memory, scripted(using("manage_memory", content="The office key scratched Anna's car."), "Noted."), ANNA)
    assert memory.namespaces() == {("teams", "oslo"): 1, ("users", "anna"): 1}

    seen = {}
    for user in (ANNA, BERT, CLEO):
        model = scripted(using("search_team", query="office key"), using("search_memory", query="office key"), "?")
        found = run(memory, model, user)
        seen[user.identity] = [text for text in ("mat.", "car.") if text in model.calls[0].texts[0] + repr(found)]

    assert seen == {"anna": ["mat.", "car."], "bert": ["mat."], "cleo": []}


def test_an_agent_that_may_only_read_cannot_write(memory: Memory) -> None:
    memory.write(("teams", "oslo"), "The office key is under the mat.")
    before = memory.records(("teams", "oslo"))
    model = scripted(
        using("search_team", query="office key"), using("manage_team", content="It is gone."), "Under the mat."
    )

    found, refused = run(memory, model, BERT, team=())

    assert model.calls[0].tools == ["search_memory", "manage_memory", "search_team"]
    assert "under the mat" in found
    assert "ids:" not in found
    assert "manage_team is not a valid tool" in refused
    assert memory.records(("teams", "oslo")) == before


def test_a_user_is_forgotten_and_the_team_still_knows(memory: Memory) -> None:
    memory.write(("teams", "oslo"), "The office key is under the mat.")
    memory.write(("users", "anna"), ["Anna lost the key once.", "Anna has a new key."])
    memory.write(("users", "bert"), "Bert has no key.")
    memory.flush()

    receipt = memory.forget(("users", "anna"))

    assert (receipt.namespace, receipt.from_log, receipt.from_index) == (("users", "anna"), 2, 2)
    assert memory.namespaces() == {("teams", "oslo"): 1, ("users", "bert"): 1}
    model = scripted(using("search_memory", query="key"), "?")
    (found,) = run(memory, model, ANNA)
    assert "Anna" not in found + model.calls[0].texts[0]
    assert "mat." in model.calls[0].texts[0]
