"""Write data/loans.csv: 6000 made-up loan applications, the same on every machine."""

import csv
import math
import random
from pathlib import Path

ROWS = 6000
HOMES = ("rent", "own", "mortgage")
PURPOSES = ("car", "education", "home", "debt", "business")


def application(rng):
    income = round(math.exp(rng.gauss(10.6, 0.5)), 2)
    amount = round(min(math.exp(rng.gauss(9.3, 0.7)), 90000.0), 2)
    months = rng.choice((12, 24, 36, 48, 60))
    row = {
        "age": rng.randint(19, 74),
        "income": income,
        "amount": amount,
        "months": months,
        "employed_years": round(rng.expovariate(1 / 6.0), 1),
        "late_payments": min(int(rng.expovariate(0.9)), 9),
        "open_credits": rng.randint(0, 8),
        "home": rng.choice(HOMES),
        "purpose": rng.choice(PURPOSES),
    }
    burden = amount / months * 12 / income
    risk = 2.2 * burden + 0.55 * row["late_payments"] + 0.15 * row["open_credits"]
    risk -= 0.06 * row["employed_years"] + (0.5 if row["home"] != "rent" else 0.0)
    risk += 0.4 if row["purpose"] == "business" else 0.0
    row["default"] = int(rng.random() < 1 / (1 + math.exp(2.1 - risk)))
    return row


rng = random.Random(20260901)
rows = [application(rng) for _ in range(ROWS)]
Path("data").mkdir(exist_ok=True)
with open("data/loans.csv", "w", newline="") as sink:
    writer = csv.DictWriter(sink, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
print("data/loans.csv:", len(rows), "applications,", sum(r["default"] for r in rows), "defaults")
