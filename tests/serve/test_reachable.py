"""What a node tells others about where it is must lead to it."""

from dataclasses import replace

import pytest

from orpheus_clone.errors import RecipeError
from orpheus_clone.serve.run import Settings, check_reachable

HERE = Settings(
    host="127.0.0.1",
    port=0,
    store="voices",
    engine="hf",
    max_adapters=1,
    allows_unproven=False,
    redis_url="redis://localhost:6379",
    node_id=None,
    node_url=None,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"redis_url": "redis://redis.internal:6379"},
        {"host": "0.0.0.0"},
        {"host": "::", "redis_url": "redis://10.0.0.1"},
        {"node_url": "10.0.0.7:8000"},
    ],
)
def test_an_address_that_leads_others_to_themselves_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(RecipeError, match="--node-url"):
        check_reachable(replace(HERE, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"redis_url": None, "host": "0.0.0.0"},
        {"host": "10.0.0.7", "redis_url": "redis://redis.internal"},
        {"host": "0.0.0.0", "node_url": "http://10.0.0.7:8000"},
    ],
)
def test_one_that_leads_to_the_node_is_taken(changes: dict[str, str | None]) -> None:
    check_reachable(replace(HERE, **changes))  # type: ignore[arg-type]
