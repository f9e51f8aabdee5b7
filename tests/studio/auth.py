"""Authentication for a server under test: a bearer token names the user."""

from typing import Any

from langgraph_sdk import Auth

KEY = "Bearer key-of-"

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    """The user whose key it is."""
    if not authorization or not authorization.startswith(KEY):
        raise Auth.exceptions.HTTPException(status_code=401, detail="unknown key")
    return {"identity": f"{authorization.removeprefix(KEY)}@example.org"}


@auth.on.store
async def own_items(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    """Items lie under their user's name, whatever namespace is sent."""
    value["namespace"] = (ctx.user.identity.replace(".", "-"), *(value.get("namespace") or ()))
