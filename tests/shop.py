"""The events of a shop, with some of the troubles that real ones have: for the page of a check, and its pictures."""

from __future__ import annotations

import random
from typing import Any

FIRST_MS = 1_767_225_600_000  # 2026-01-01
DAY_MS = 86_400_000
BY_HOUR = [2, 1, 1, 1, 1, 2, 5, 9, 14, 16, 17, 16, 15, 16, 16, 15, 15, 17, 20, 24, 25, 20, 11, 5]


def shop_events() -> list[dict[str, Any]]:
    """Make them, the same each time."""
    draw = random.Random(7)
    names = ("Page View", "Search", "Add to Cart", "Purchase", "Sign Up", "Share")
    events = []
    for number in range(9_000):
        day = min(draw.randrange(150), draw.randrange(200))
        hour = draw.choices(range(24), BY_HOUR)[0]
        properties = {
            "time": FIRST_MS + day * DAY_MS + hour * 3_600_000 + draw.randrange(3_600_000),
            "distinct_id": f"user-{draw.randrange(2_500):04d}",
            "$insert_id": f"{number % 8_960:032x}",
            "plan": draw.choice(("free", "starter", "premium", None)),
            "price": draw.choice((round(draw.random() * 200, 2), "12,50")) if number % 40 == 0 else draw.randrange(200),
            "tags": draw.sample(("new", "sale", "gift"), 2),
            "email": f"{draw.getrandbits(32):x}@example.com",
            "ordered_at": f"2026-0{draw.randrange(1, 6)}-1{draw.randrange(10)}",
            "mobile": draw.random() < 0.4,
        }
        if number % 90 == 0:
            properties["note"] = "x" * 300
        if number % 400 == 0:
            properties["bucket"] = "A"
        if number % 300 == 0:
            properties["time"] = ""
        if number % 700 == 0:
            properties["distinct_id"] = "undefined"
        events.append({"event": draw.choices(names, (40, 20, 12, 6, 3, 1))[0], "properties": properties})
    return events
