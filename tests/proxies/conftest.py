"""A proxy, the server behind it, and clients in front of it."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.proxies.ends import Upstream
from tests.proxy import Proxy


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[Proxy]:
    with Proxy(upstream.base_url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.base_url, trust_env=False, verify=False, timeout=60) as client:
        yield client


@pytest.fixture
async def aclient(proxy: Proxy) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=proxy.base_url, trust_env=False, verify=False, timeout=60, limits=limits
    ) as client:
        yield client
