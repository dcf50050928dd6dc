"""Write data/customers.csv: 8000 made-up telephone customers, the same on every machine."""

import csv
import math
import random
from pathlib import Path

ROWS = 8000


def customer(rng):
    months = rng.randint(1, 72)
    contract = rng.choice((1, 1, 12, 24))
    row = {
        "months": months,
        "contract_months": contract,
        "monthly_fee": round(rng.uniform(15.0, 95.0), 2),
        "calls_to_support": min(int(rng.expovariate(0.7)), 12),
        "outages": min(int(rng.expovariate(1.1)), 8),
        "gigabytes": round(rng.gammavariate(2.0, 9.0), 2),
        "fibre": int(rng.random() < 0.45),
        "paperless": int(rng.random() < 0.6),
        "family_plan": int(rng.random() < 0.3),
    }
    wish = 0.02 * row["monthly_fee"] + 0.3 * row["calls_to_support"] + 0.35 * row["outages"]
    wish -= 0.03 * months + 0.06 * contract + 0.7 * row["family_plan"]
    row["churned"] = int(rng.random() < 1 / (1 + math.exp(1.0 - wish)))
    return row


rng = random.Random(20260903)
rows = [customer(rng) for _ in range(ROWS)]
Path("data").mkdir(exist_ok=True)
with open("data/customers.csv", "w", newline="") as sink:
    writer = csv.DictWriter(sink, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
print("data/customers.csv:", len(rows), "customers,", sum(r["churned"] for r in rows), "churned")
