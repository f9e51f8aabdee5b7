"""`linmem doctor`: a running model server, examined."""

from typing import TYPE_CHECKING, Annotated

import typer

from linmem_langgraph.cli.output import print_json, print_lines, print_table

if TYPE_CHECKING:
    from linmem_langgraph.doctor import Diagnosis


def doctor(
    url: Annotated[str, typer.Argument(help="The server's address, with or without /v1.")],
    model: Annotated[str | None, typer.Option(help="Which model, if it serves several.")] = None,
    api_key: Annotated[str | None, typer.Option(help="The server's key.", show_default="VLLM_API_KEY")] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of the transcripts it is given to read.")] = 4_000,
    repeats: Annotated[int, typer.Option(help="How often all is measured.")] = 5,
    timeout: Annotated[float, typer.Option(help="Seconds a read may take.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of tables.")] = False,
) -> None:
    """Find out whether a model server keeps what it has read, and what would mend it if not.

    It reads transcripts made up for this, never a memory. Exit codes: 0 a linear reader can use the server as it is, be
    its model linear or softmax; 1 something is to be mended; 2 wrong arguments, or a model that has to be named.
    """
    from rich.console import Console

    from linmem_langgraph.doctor import diagnose

    with Console(stderr=True).status("reading ..."):
        diagnosis = diagnose(url, model=model, api_key=api_key, tokens=tokens, repeats=repeats, timeout=timeout)
    if as_json:
        print_json(diagnosis.model_dump(mode="json"))
    else:
        _print(diagnosis)
    raise typer.Exit(0 if diagnosis.ok else 2 if diagnosis.verdict == "no-model" else 1)


def _print(diagnosis: "Diagnosis") -> None:
    facts = {name: fact for name, fact in _facts(diagnosis).items() if fact}
    if facts:
        print_table({"server": list(facts), diagnosis.url: list(facts.values())})
    print_lines([f"{diagnosis.verdict}: {diagnosis.found}"])
    if diagnosis.fix:
        print_lines(["", diagnosis.fix])
    if diagnosis.command:
        print_lines(["", f"    {diagnosis.command}"])


def _facts(diagnosis: "Diagnosis") -> dict[str, str]:
    cached, seconds, context = diagnosis.cached_tokens, diagnosis.seconds, diagnosis.context_tokens
    return {
        "is": " ".join(filter(None, (diagnosis.server, diagnosis.version))),
        "model": diagnosis.model or "",
        "kind": diagnosis.kind if diagnosis.model else "",
        "context": f"{context:,} tokens" if context else "",
        "primed": f"{diagnosis.prompt_tokens:,} tokens" if diagnosis.prompt_tokens else "",
        "found again": f"{cached.first:,} tokens, then {cached.second:,}; unprimed {cached.cold:,}" if cached else "",
        "a read takes": f"{seconds.primed:.3f} s; unprimed {seconds.cold:.3f} s" if seconds else "",
        "rounds": str(diagnosis.repeats or ""),
    }
