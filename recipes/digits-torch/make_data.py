"""Write data/digits.npz: the 1797 hand-written digits that scikit-learn carries with it."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
Path("data").mkdir(exist_ok=True)
np.savez("data/digits.npz", images=digits.images.astype("float32"), labels=digits.target)
print("data/digits.npz:", len(digits.target), "images")
