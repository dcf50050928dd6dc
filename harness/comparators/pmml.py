"""PMML models: elements in order, numbers by tolerance; namespaces and header set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.parsers import expat

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, contents, is_number
from harness.comparators.tensor import numbers

HEADER = "who wrote the file, with what and when"
NAMESPACE = "the namespace names the version of PMML and of its writer"


class PmmlComparator(DocumentComparator):
    """PMML of any version."""

    id = "pmml"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether it is XML with a PMML element at the start."""
        return sniff.head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<" and b"<PMML" in sniff.head

    def parse(self, path: Path, context: Context) -> Document:
        """Read one model; a document type or an entity is refused before it is expanded."""
        reader = _Reader(context)
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = reader.refuse
        parser.EntityDeclHandler = reader.refuse
        parser.StartElementHandler = reader.start
        parser.EndElementHandler = reader.end
        parser.CharacterDataHandler = reader.text
        parser.buffer_text = True
        try:
            parser.Parse(contents(path, context.bounds.header), True)
        except expat.ExpatError as error:
            raise CannotCompare(f"{path.name}: malformed XML: {error}") from error
        if reader.root is None:
            raise CannotCompare(f"{path.name}: no element")
        return Document(
            reader.root,
            {"Header": (repr(reader.header), HEADER), "xmlns": (reader.spaces, NAMESPACE)},
        )


class _Reader:
    def __init__(self, context: Context) -> None:
        self.depth = max(context.bounds.depth, 256)
        self.left = context.bounds.entries * 20
        self.stack: list[tuple[str, dict[str, Any], list[str], dict[str, int]]] = []
        self.root: dict[str, Any] | None = None
        self.header: list[Any] = []
        self.spaces: list[str] = []

    def refuse(self, *_: Any) -> None:
        raise CannotCompare("XML with a document type or entities is not read")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.left -= 1
        if self.left < 0 or len(self.stack) > self.depth:
            raise CannotCompare("XML nested deeper, or with more elements, than is read")
        held: dict[str, Any] = {}
        for key, value in attributes.items():
            if key.startswith(("xmlns", "xsi:")):
                self.spaces.append(f"{key}={value}")
            else:
                held[f"@{key.rpartition(':')[2]}"] = _number(value)
        self.stack.append((name.rpartition(":")[2], held, [], {}))

    def text(self, data: str) -> None:
        if self.stack:
            self.stack[-1][2].append(data)

    def end(self, _: str) -> None:
        name, held, texts, _counts = self.stack.pop()
        text = "".join(texts).strip()
        if text:
            held["(text)"] = _words(text)
        if name == "Header" and len(self.stack) == 1:
            self.header.append(held)
        elif self.stack:
            _name, above, _texts, counts = self.stack[-1]
            count = counts[name] = counts.get(name, -1) + 1
            above[f"{name}[{count}]" if count else name] = held
        else:
            self.root = {name: held}


def _number(text: str) -> Any:
    return float(text) if is_number(text) else text


def _words(text: str) -> Any:
    words = text.split()
    return numbers([float(w) for w in words]) if all(map(is_number, words)) else text
