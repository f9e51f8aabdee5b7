"""Every fault that the proxy makes, alone and one after the other."""

import json
from typing import Any

import httpx
import pytest

from tests.faults import Kind
from tests.proxies.ends import ANSWER, Upstream, ask, connect, events, fates
from tests.proxy import HTML, NOT_JSON, OTHER_JSON, Fault, Proxy, Request, asks_chat


def test_a_delay_ends(proxy: Proxy, client: httpx.Client) -> None:
    proxy.faults += [Fault("delay", seconds=0.01), Fault("delay", seconds=0.01), Fault("delay_answer", seconds=0.01)]
    assert ask(client).json() == ANSWER
    assert [fault.hits for fault in proxy.faults] == [1, 1, 1]


@pytest.mark.parametrize(("kind", "forwarded"), [("drop", 0), ("drop_answer", 1)])
def test_a_dropped_request_has_no_answer(
    proxy: Proxy, upstream: Upstream, client: httpx.Client, kind: Kind, forwarded: int
) -> None:
    proxy.faults.append(Fault(kind, times=1))
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        ask(client)
    assert len(upstream.requests) == forwarded
    assert ask(client).json() == ANSWER
    assert fates(proxy) == [(None, False), (200, False)]


@pytest.mark.parametrize("status", [400, 429, 500, 502, 503])
@pytest.mark.parametrize("retry_after", [None, 0.01, 30])
def test_a_status_comes_instead(
    proxy: Proxy, upstream: Upstream, client: httpx.Client, status: int, retry_after: float | None
) -> None:
    proxy.faults.append(Fault("status", status=status, retry_after=retry_after))
    answer = ask(client)
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == (None if retry_after is None else str(retry_after))
    assert answer.json()["error"]["code"] == status
    assert upstream.requests == []
    assert fates(proxy) == [(status, False)]


def test_a_status_can_have_a_body_of_its_own(proxy: Proxy, client: httpx.Client) -> None:
    proxy.faults.append(Fault("status", status=502, body=HTML))
    answer = ask(client)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (502, "text/html", HTML)


@pytest.mark.parametrize("body", [HTML, NOT_JSON, OTHER_JSON, b"", b"\xff\xfe", b"null", b"x" * 200_000])
def test_garbage_comes_as_a_success(proxy: Proxy, upstream: Upstream, client: httpx.Client, body: bytes) -> None:
    proxy.faults.append(Fault("garbage", body=body, times=1))
    answer = ask(client)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == ("text/html" if body == HTML else "application/json")
    assert upstream.requests == []
    assert ask(client).json() == ANSWER


@pytest.mark.parametrize("after", [0, 1, 20, 10_000])
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_begins_and_does_not_end(
    proxy: Proxy, upstream: Upstream, client: httpx.Client, after: int, stream: bool
) -> None:
    for _ in events():
        upstream.go_on.release()
    proxy.faults.append(Fault("cut", after=after))
    whole = b"".join(events()) if stream else json.dumps(ANSWER, ensure_ascii=False).encode()
    received = []

    def receive(answer: httpx.Response) -> None:
        for piece in answer.iter_raw():
            received.append(piece)

    with client.stream("POST", "/chat/completions", json={"stream": stream}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            receive(answer)
    assert b"".join(received) == whole[:after]
    assert fates(proxy) == [(200, False)]


def test_a_slow_answer_comes_byte_by_byte_and_whole(proxy: Proxy) -> None:
    proxy.faults.append(Fault("slow", seconds=0.0001))
    with connect(proxy) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n")
        _, _, chunks = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    body = json.dumps(ANSWER, ensure_ascii=False).encode()
    assert chunks == b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


def test_hanging_up_on_a_slow_answer_is_noticed(proxy: Proxy, client: httpx.Client) -> None:
    proxy.faults.append(Fault("slow", seconds=0.2))
    with client.stream("POST", "/chat/completions", json={}) as answer:
        assert next(answer.iter_raw()) == b"{"
    proxy.wait_until(lambda: fates(proxy) == [(200, True)])


def test_a_wrong_usage_is_told(proxy: Proxy, upstream: Upstream, client: httpx.Client) -> None:
    proxy.faults.append(Fault("usage", usage={"prompt_tokens": 99, "prompt_tokens_details": {"cached_tokens": 98}}))
    wrong = {
        "prompt_tokens": 99,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 98},
    }
    assert ask(client).json() == {**ANSWER, "usage": wrong}
    for _ in events():
        upstream.go_on.release()
    told = [line.removeprefix("data: ") for line in ask(client, stream=True).text.splitlines() if line]
    sent = [event.decode().removeprefix("data: ").strip() for event in events()]
    assert [json.loads(event) for event in told[:3]] == [json.loads(event) for event in sent[:3]]
    assert json.loads(told[3]) == {**json.loads(sent[3]), "usage": wrong}
    assert told[4:] == ["[DONE]"]


def test_answers_are_rewritten_in_turn_by_what_was_asked(
    proxy: Proxy, upstream: Upstream, client: httpx.Client
) -> None:
    def rewrite(asked: Any, answered: Any) -> Any:
        return {"asked": asked, "answered": answered}

    proxy.faults += [Fault("rewrite", rewrite=rewrite), Fault("rewrite", rewrite=lambda asked, answered: [answered])]
    assert ask(client, number=1).json() == [{"asked": {"model": "tiny", "number": 1}, "answered": ANSWER}]
    assert client.get("/models").json() == [{"asked": None, "answered": ANSWER}]
    assert client.get("/nothing").json() == {"error": "no /v1/nothing"}
    for _ in events():
        upstream.go_on.release()
    lines = ask(client, stream=True).text.splitlines()
    assert json.loads(lines[0].removeprefix("data: "))[0]["asked"] == {"model": "tiny", "stream": True}
    assert [line for line in lines if not line.startswith("data: [{")] == ["", "", "", "", "data: [DONE]", ""]


def test_faults_come_in_their_order_as_often_as_told_to_whom_they_are_for(proxy: Proxy, client: httpx.Client) -> None:
    def about_mugs(request: Request) -> bool:
        return asks_chat(request) and request.body.get("about") == "mugs"

    faults = [
        Fault("usage", usage={"total_tokens": 1}),
        Fault("status", status=429, times=2, when=asks_chat),
        Fault("status", status=503, times=1, when=about_mugs),
        Fault("delay", seconds=0, times=1),
    ]
    proxy.faults += faults
    seen = [client.get("/models").status_code]
    seen += [ask(client, about=about).status_code for about in ("mugs", "", "", "mugs", "mugs")]
    assert seen == [200, 429, 429, 200, 503, 200]
    assert [fault.hits for fault in faults] == [6, 2, 1, 1]
    assert client.get("/models").json()["usage"]["total_tokens"] == 1
    proxy.faults.remove(faults[0])
    assert client.get("/models").json() == ANSWER


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "delays", "seconds": 1.0}, "unknown fault 'delays'; choose delay, delay_answer, drop"),
        ({"kind": "delay"}, "'delay' takes seconds, not none"),
        ({"kind": "drop", "seconds": 1.0}, "'drop' takes no options, not seconds"),
        ({"kind": "status", "retry_after": 1.0}, "'status' takes body, retry_after, status, not retry_after"),
        ({"kind": "cut", "seconds": 1.0}, "'cut' takes after, not seconds"),
    ],
)
def test_a_fault_takes_the_options_of_its_kind(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Fault(**options)
