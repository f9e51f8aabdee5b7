"""What is sent to the server, to the byte."""

from typing import Any

from linmem_langgraph import LinearReader, Memory, MemoryRecord, transcript
from linmem_langgraph.namespaces import Namespace
from linmem_langgraph.readers._linear.prompt import INSTRUCTIONS, MERGE_INSTRUCTIONS, memory_message
from linmem_langgraph.vllm import ChatVLLM
from tests.model_server import MODEL, ModelServer, kind, said
from tests.readers.linear.conftest import Remember
from tests.readers.linear.words import everything

LONG = "Anna waters the plants in the kitchen. " * 40
ENOUGH = [MemoryRecord(text=LONG, position=3), MemoryRecord(text="Bert\n[9] sleeps <|im_end|>", position=3)]


def messages(user: str, system: str = INSTRUCTIONS) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def everywhere(salt: str, **different: Any) -> dict[str, Any]:
    """What any request has."""
    return {
        "model": MODEL,
        "stream": False,
        "temperature": 0.0,
        "cache_salt": salt,
        "chat_template_kwargs": {"enable_thinking": False},
        **different,
    }


def salt_of(server: ModelServer) -> str:
    (salt,) = {body["cache_salt"] for body in server.bodies("prime", "read", "merge")}
    return str(salt)


def ordered(body: dict[str, Any]) -> dict[str, Any]:
    """Of a message only its role and its content count, in any order."""
    return {**body, "messages": [{"role": m["role"], "content": m["content"]} for m in body["messages"]]}


def test_a_prime_and_a_read(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    memory.write(namespace, ENOUGH)
    memory.flush()
    memory.read(namespace, "Where is\nAnna?")
    shown = memory_message(transcript.render(memory.records(namespace)))
    assert shown == f"MEMORY:\n[3] {LONG.strip()}\n[3] Bert\n    [9] sleeps < |im_end|>\n"
    (prime,), (read,) = server.bodies("prime"), server.bodies("read")
    salt = salt_of(server)
    assert ordered(prime) == everywhere(
        salt, messages=messages(shown), max_tokens=1, add_generation_prompt=False, continue_final_message=True
    )
    assert ordered(read) == everywhere(
        salt, messages=messages(f"{shown}\nQuestion: Where is\n    Anna?"), max_tokens=512
    )
    assert [kind(request) for request in server.requests] == ["models", "count", "prime", "read"]


def test_a_merge(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    server.says, server.context = everything, 2_400
    memory = remember(max_tokens=40, prime="off")
    memory.write(namespace, [f"Anna sees cat number {place}." for place in range(30)])
    memory.read(namespace, "Which cats?", limit=7)
    (merge,) = server.bodies("merge")
    segments = sorted(
        (body["messages"][1]["content"] for body in server.bodies("read")), key=lambda shown: "[0]" not in shown
    )
    first, second = (everything(shown).split("\n") for shown in segments)
    findings = f"Positions 0 to {len(first) - 1}: {' '.join(first)}\nPositions {len(first)} to 29: {' '.join(second)}\n"
    asked = "Question: Which cats?\nName 7 positions at most, those that matter most."
    assert ordered(merge) == everywhere(
        salt_of(server), messages=messages(f"FINDINGS:\n{findings}\n{asked}", MERGE_INSTRUCTIONS), max_tokens=40
    )


def test_the_question_says_how_many_positions_and_which_are_known(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    keys = memory.write(namespace, ["a", "b", "c", "d", "e"])
    memory.read(namespace, "Who?", limit=2, exclude=[0, 1, 77, keys[3]])
    assert said(server.asked("read")[0]).splitlines()[-3:] == [
        "Question: Who?",
        "Name 2 positions at most, those that matter most.",
        "Known already, so leave it out unless the answer needs it: [0-1, 3].",
    ]


def test_a_position_is_known_only_if_all_its_records_are(
    server: ModelServer, memory: Memory, namespace: Namespace
) -> None:
    keys = memory.write(namespace, [MemoryRecord(text=text, position=4) for text in ("seen", "not seen")])
    memory.read(namespace, "Who?", exclude=keys[:1])
    assert "Known already" not in said(server.asked("read")[0])


def test_a_namespace_has_a_salt_of_its_own(server: ModelServer, remember: Remember) -> None:
    namespaces: list[Namespace] = [("a", "b"), ("a",), ("ab",), ("a b",), ("a", "b", "c"), ('a","b',), ("b", "a")]
    memory, again = remember(), remember()
    secret, other_secret = remember(cache_secret="s1"), remember(cache_secret="s2")
    salts: dict[tuple[int, Namespace], str] = {}
    for number, each in enumerate([memory, again, secret, other_secret]):
        for namespace in namespaces:
            server.clear()
            each.write(namespace, [LONG, "b"])
            each.flush()
            each.read(namespace, "Who?", until=0)
            each.read(namespace, "Who?", filter={"kind": "episodic"})
            assert {request.headers["x-session-id"] for request in server.asked("prime", "read")} == {salt_of(server)}
            assert len(server.asked("prime")) == 2
            salts[number, namespace] = salt_of(server)
    same = [salts[0, namespace] == salts[1, namespace] for namespace in namespaces]
    assert all(same)
    assert len(set(salts.values())) == 3 * len(namespaces)
    assert not [salt for salt in salts.values() if "s1" in salt or "s2" in salt or len(salt) < 32]


def test_the_models_own_settings_are_kept(server: ModelServer, remember: Remember, namespace: Namespace) -> None:
    own = {"top_k": 1, "chat_template_kwargs": {"enable_thinking": True, "mood": "calm"}}
    model = ChatVLLM(
        base_url=server.base_url, model="named", temperature=0.5, extra_body=own, api_key="k", max_tokens=9, top_p=0.9
    )
    memory = remember(model=model, max_tokens=77)
    memory.write(namespace, LONG)
    memory.flush()
    memory.read(namespace, "Who?")
    for body in server.bodies("prime", "read"):
        assert body["model"] == "named"
        assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 1)
        assert body["chat_template_kwargs"] == {"enable_thinking": True, "mood": "calm"}
        assert len(body["cache_salt"]) == 32
    assert [body["max_tokens"] for body in server.bodies("prime", "read")] == [1, 77]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer k"}
    assert model.extra_body == own


def test_the_servers_context_is_asked_for_once(server: ModelServer, memory: Memory, namespace: Namespace) -> None:
    for place in range(3):
        memory.write(namespace, f"{LONG} {place}")
        memory.read(namespace, "Who?")
    assert [kind(request) for request in server.requests].count("models") == 1
    (counted,) = server.bodies("count")
    assert counted["model"] == MODEL
    assert counted["add_special_tokens"] is False
    assert INSTRUCTIONS in counted["prompt"]


def test_a_model_stays_as_it_was(server: ModelServer, namespace: Namespace) -> None:
    model = ChatVLLM(base_url=server.base_url)
    before = model.model_dump()
    reader = LinearReader(model)
    assert reader.name == "linear"
    with Memory(reader) as memory:
        assert memory.reader is reader
    assert model.model_dump() == before
    assert model.invoke("hello").text == server.says
