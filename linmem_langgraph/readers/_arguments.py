"""Arguments that several readers take."""

from linmem_langgraph.errors import ConfigError


def check_positive(**integers: int) -> None:
    """Refuse what is no positive integer.

    Raises:
        ConfigError: names the first.
    """
    for name, value in integers.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}: give a positive integer")


def check_model_arguments(
    *, context_tokens: int | None, max_tokens: int, timeout: float, concurrency: int, **integers: int
) -> None:
    """Refuse wrong arguments of a reader that asks a chat model; `integers` are those that it takes besides.

    Raises:
        ConfigError: names the first.
    """
    check_positive(max_tokens=max_tokens, concurrency=concurrency, **integers)
    if not isinstance(timeout, int | float) or timeout <= 0:
        raise ConfigError(f"timeout is {timeout!r}: give a positive number, of seconds")
    if context_tokens is not None and (not isinstance(context_tokens, int) or context_tokens < 1):
        raise ConfigError(f"context_tokens is {context_tokens!r}: give the model's context in tokens, or None")
