"""A server whose store is read by a reader: what its REST clients find."""

import asyncio

from tests.studio.server import DevServer


async def test_rest_clients_search_through_the_reader(guarded: DevServer) -> None:
    async with guarded.client("anna") as anna, guarded.client("bert") as bert:
        for client, thing in ((anna, "tea"), (bert, "coffee")):
            await asyncio.gather(
                client.store.put_item(("notes",), "likes", {"content": f"She likes {thing}."}),
                client.store.put_item(("notes", "work"), "lives", {"content": "Her desk is in Oslo."}),
            )
        found = await anna.store.search_items(("notes",), query="What does she like?")
        assert [item["value"]["content"] for item in found["items"]] == ["She likes tea.", "Her desk is in Oslo."]
        assert [item["score"] is not None for item in found["items"]] == [True, True]
        await anna.store.put_item(("notes",), "likes", {"content": "She likes milk."})
        assert "tea" not in str(await anna.store.search_items(("notes",), query="tea"))
        await anna.store.delete_item(("notes",), "likes")
        left = await anna.store.search_items((), query="milk")
        assert [item["key"] for item in left["items"]] == ["lives"]
        others = await bert.store.search_items((), query="What does she like?", limit=1)
        assert others["items"][0]["value"] == {"content": "She likes coffee."}
