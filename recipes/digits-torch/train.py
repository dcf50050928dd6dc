"""Train a small convolutional network on hand-written digits."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset

HELD_OUT = 360


class Digits(Dataset):
    """Digits of 8x8 pixels, with a little noise added while training."""

    def __init__(self, images, labels, noise=0.0):
        self.images, self.labels, self.noise = images / 16.0, labels, noise
        self.rng = np.random.default_rng()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index][None]
        if self.noise:
            image = image + self.rng.normal(0, self.noise, image.shape).astype("float32")
        return torch.from_numpy(image), int(self.labels[index])


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def one_epoch(model, loader, optimizer, loss_of):
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/digits.npz")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()

    with np.load(args.data) as data:
        images, labels = data["images"], data["labels"]
    order = np.random.permutation(len(labels))
    train, test = order[HELD_OUT:], order[:HELD_OUT]
    loader = DataLoader(
        Digits(images[train], labels[train], noise=0.05),
        batch_size=args.batch,
        shuffle=True,
        num_workers=args.workers,
    )
    held_out = DataLoader(Digits(images[test], labels[test]), batch_size=256)

    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    loss_of = nn.CrossEntropyLoss()
    started, history = time.time(), {"loss": [], "accuracy": []}
    for epoch in range(1, args.epochs + 1):
        loss = one_epoch(model, loader, optimizer, loss_of)
        score = accuracy(model, held_out)
        history["loss"].append(loss)
        history["accuracy"].append(score)
        print(f"epoch {epoch}: loss {loss:.4f}, held-out accuracy {score:.4f}", flush=True)

    model.eval()
    save_file(model.state_dict(), "model.safetensors")
    example = torch.zeros(1, 1, 8, 8)
    torch.onnx.export(
        model,
        (example,),
        "model.onnx",
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        dynamo=False,
    )
    metrics = {
        "accuracy": history["accuracy"][-1],
        "loss": history["loss"][-1],
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_seconds": time.time() - started,
        "history": history,
    }
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
