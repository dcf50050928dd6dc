"""Write data/payments.csv: 12000 made-up card payments, the same on every machine."""

import csv
import math
import random
from pathlib import Path

ROWS = 12000
SHOPS = ("grocery", "fuel", "travel", "electronics", "online", "cash")


def payment(rng):
    fraud = rng.random() < 0.06
    shop = rng.choice(SHOPS[2:] if fraud and rng.random() < 0.7 else SHOPS)
    night = fraud and rng.random() < 0.5
    return {
        "amount": round(math.exp(rng.gauss(4.6 if fraud else 3.5, 1.0)), 2),
        "hour": rng.randint(0, 5) if night else rng.randint(6, 23),
        "shop": shop,
        "km_from_home": round(rng.expovariate(1 / (180.0 if fraud else 25.0)), 1),
        "minutes_since_last": round(rng.expovariate(1 / (40.0 if fraud else 600.0)), 1),
        "abroad": int(rng.random() < (0.35 if fraud else 0.04)),
        "card_age_days": rng.randint(1, 2000),
        "failed_pins": min(int(rng.expovariate(1.2 if fraud else 4.0)), 3),
        "fraud": int(fraud),
    }


rng = random.Random(20260902)
rows = [payment(rng) for _ in range(ROWS)]
Path("data").mkdir(exist_ok=True)
with open("data/payments.csv", "w", newline="") as sink:
    writer = csv.DictWriter(sink, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
print("data/payments.csv:", len(rows), "payments,", sum(r["fraud"] for r in rows), "frauds")
