"""A memory inspector for LangGraph's Studio: a form, and what memory holds.

    START -> namespaces | browse | read | forget -> END

What is wrong with a form is raised. Where a server authenticates its users, each inspects their own memory alone.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from langgraph.channels import EphemeralValue
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from linmem_langgraph import turns
from linmem_langgraph.cli.arguments import format_namespace, parse_namespace
from linmem_langgraph.errors import ConfigError, NamespaceError
from linmem_langgraph.memory import Memory
from linmem_langgraph.namespaces import Namespace, NamespaceTemplate, authenticated

Action = Literal["namespaces", "browse", "read", "forget"]

_ACTIONS = "namespaces: who has a memory; browse: its records; read: ask it; forget: remove records for good."


class Form(TypedDict, total=False):
    """What is asked. It is gone after the run: nothing of it, least of all `confirm`, holds for the thread's next."""

    action: Annotated[Action, Field(default="browse", description=_ACTIONS), EphemeralValue]
    namespace: Annotated[
        str, Field(default="", description="Whose memory: users/anna. Empty: that of the run's user."), EphemeralValue
    ]
    until: Annotated[
        int | None, Field(default=None, ge=0, description="browse, read: as of this position."), EphemeralValue
    ]
    query: Annotated[str, Field(default="", description="read: a question, or words to look for."), EphemeralValue]
    limit: Annotated[int, Field(default=20, ge=1, le=1_000, description="At most so many."), EphemeralValue]
    offset: Annotated[
        int, Field(default=0, ge=0, description="namespaces, browse: leave out so many first."), EphemeralValue
    ]
    keys: Annotated[
        list[str], Field(default_factory=list, description="forget: the records with these keys."), EphemeralValue
    ]
    everything: Annotated[
        bool, Field(default=False, description="forget: all records of the namespace."), EphemeralValue
    ]
    confirm: Annotated[
        str, Field(default="", description="forget: the namespace once more, since nothing undoes it."), EphemeralValue
    ]


class Found(TypedDict):
    """What the action gave."""

    result: dict[str, Any]


class State(Form, Found, total=False):
    """Both."""


def create_inspector(
    memory: Memory, *, namespace: Namespace | str, context_schema: type[Any] | None = None
) -> StateGraph[State, Any, Form, Found]:
    """The inspector, uncompiled: `create_inspector(...).compile().invoke({"action": "namespaces"})["result"]`.

    Args:
        memory: what is inspected.
        namespace: whose memory it is where the form names none, with `{fields}` filled at run time.
        context_schema: of the run-time context.

    Raises:
        NamespaceError: the template is invalid; when it runs: whose memory is meant cannot be told, or it is not the
            authenticated user's.
        ConfigError: when it runs: a field of the form is invalid, or `forget` is not confirmed.
    """
    template = NamespaceTemplate(namespace)

    def namespaces(state: Form, *, runtime: Runtime[Any]) -> Found:
        asked, own = checked(state), _authenticated_namespace(template, runtime)
        found = [
            {"namespace": format_namespace(labels), "records": count}
            for labels, count in memory.namespaces().items()
            if own in (None, labels)
        ]
        return {"result": {"namespaces": _page(found, asked), **_pages(found, asked)}}

    def browse(state: Form, *, runtime: Runtime[Any]) -> Found:
        asked, where = checked(state), _whose(template, state, runtime)
        found = memory.records(where, until=asked["until"])
        page = [record.model_dump(mode="json") for record in _page(found, asked)]
        return {"result": {"namespace": format_namespace(where), "records": page, **_pages(found, asked)}}

    def read(state: Form, *, runtime: Runtime[Any]) -> Found:
        asked, where = checked(state), _whose(template, state, runtime)
        reading = memory.read(where, asked["query"], limit=asked["limit"], until=asked["until"])
        return {"result": {"namespace": format_namespace(where), "reading": reading.model_dump(mode="json")}}

    def forget(state: Form, *, runtime: Runtime[Any]) -> Found:
        asked, where = checked(state), _whose(template, state, runtime)
        keys, name = asked["keys"], format_namespace(where)
        if bool(keys) == asked["everything"]:
            raise ConfigError(f"keys is {keys!r} and everything is {asked['everything']}: give keys, or everything")
        if asked["confirm"] != name:
            raise ConfigError(f"confirm is {asked['confirm']!r}: write {name!r}, and it is forgotten for good")
        receipt = memory.forget(where, keys or None)
        return {"result": {"namespace": name, "receipt": receipt.model_dump(mode="json")}}

    graph = StateGraph(State, context_schema=context_schema, input_schema=Form, output_schema=Found)
    for node in (namespaces, browse, read, forget):
        graph.add_node(node)
        graph.add_edge(node.__name__, END)
    graph.add_conditional_edges(START, action, ["namespaces", "browse", "read", "forget"])
    return graph


def action(form: Form) -> Action:
    """The form's action, once its fields are valid."""
    return checked(form)["action"]


def checked(form: Form) -> Form:
    """The form, with the defaults of what is left out.

    Raises:
        ConfigError: a field is invalid.
    """
    try:
        return TypeAdapter(Form).validate_python(form)
    except ValidationError as exc:
        problem = exc.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{field} is {problem['input']!r}: {problem['msg']}") from exc


def _whose(template: NamespaceTemplate, form: Form, runtime: Runtime[Any]) -> Namespace:
    named = form.get("namespace", "")
    own = _authenticated_namespace(template, runtime)
    if not named:
        return own or turns.namespace_of(template, runtime)
    asked = parse_namespace(named)
    if own not in (None, asked):
        raise NamespaceError(f"namespace is {named!r}, but the authenticated user's is {own!r}: leave it out")
    return asked


def _authenticated_namespace(template: NamespaceTemplate, runtime: Runtime[Any]) -> Namespace | None:
    """The only one that the run may see; None where the server authenticates nobody."""
    user = getattr(runtime.server_info, "user", None)
    return turns.namespace_of(template, runtime) if authenticated(user) else None


def _page(found: Sequence[Any], asked: Form) -> Sequence[Any]:
    return found[asked["offset"] : asked["offset"] + asked["limit"]]


def _pages(found: Sequence[Any], asked: Form) -> dict[str, int | None]:
    """How many there are, and where the next page begins."""
    end = asked["offset"] + asked["limit"]
    return {"total": len(found), "next_offset": end if end < len(found) else None}
