"""A pickle run on paper: every opcode builds a symbol, nothing is ever imported or called."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from harness.comparators.base import CannotCompare

NOISE = {"FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"}


@dataclass(frozen=True)
class Global:
    """A name that loading would import."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return the dotted name."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Sequence:
    """A list, tuple, set or frozenset."""

    kind: str
    items: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Pairs:
    """A dictionary, its items in order."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    """What a call would return: the callee, its arguments, and what is then put into it."""

    callee: Any
    arguments: list[Any]
    states: list[Any] = field(default_factory=list)
    appended: list[Any] = field(default_factory=list)
    items: list[tuple[Any, Any]] = field(default_factory=list)
    raw: Any = None
    new: bool = False


@dataclass(frozen=True)
class Persistent:
    """An object that lives outside the pickle."""

    key: Any


_MARK = object()
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_LIST": "list", "EMPTY_TUPLE": "tuple", "EMPTY_SET": "set"}
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip


class Machine:
    """Runs one pickle on paper.

    `follow(stream, call)` is asked after each BUILD whether raw data follows in the file, as
    joblib writes it; it returns that data, having moved the stream behind it, or None.
    """

    def __init__(self, follow: Callable[[IO[bytes], Call], Any], operations: int) -> None:
        self.follow, self.left = follow, operations
        self.globals: dict[str, int] = {}
        self.noise: list[str] = []
        self.discarded: list[Call] = []
        self.protocol = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, stream: IO[bytes]) -> Any:
        """Return the symbol that the pickle at the stream's position stands for.

        Raises: CannotCompare, ValueError or LookupError for a malformed pickle.
        """
        outer = self.stack, self.memo
        self.stack, self.memo = [], {}
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                self.left -= 1
                if self.left < 0:
                    raise CannotCompare("a pickle with more operations than are read")
                if opcode.name == "STOP":
                    if len(self.stack) != 1:
                        raise CannotCompare("a pickle that leaves objects behind")
                    return self.stack.pop()
                self._step(opcode.name, argument, stream)
            raise CannotCompare("a pickle without an end")
        finally:
            self.stack, self.memo = outer

    def _step(self, name: str, argument: Any, stream: IO[bytes]) -> None:
        if name in NOISE:
            self.noise.append(name)
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(Sequence(EMPTY[name]))
        elif name == "BUILD":
            self._build(stream)
        else:
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise CannotCompare(f"a pickle with opcode {name}")
            handler(argument)

    def _marked(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise CannotCompare("a pickle that takes more than it has put")
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def _build(self, stream: IO[bytes]) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Call):
            target.states.append(state)
            target.raw = self.follow(stream, target)
        else:
            self.stack[-1] = Call("state of", [target], [state])

    def _proto(self, argument: int) -> None:
        self.protocol = argument

    def _frame(self, argument: int) -> None:
        """Framing only groups bytes for reading."""

    def _mark(self, _: None) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: None) -> None:
        self._drop([self.stack.pop()])

    def _pop_mark(self, _: None) -> None:
        self._drop(self._marked())

    def _drop(self, items: list[Any]) -> None:
        """Keep what loading would compute and throw away: it still runs."""
        self.discarded += [item for item in items if isinstance(item, Call)]

    def _dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def _memoize(self, _: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, argument: int) -> None:
        self.stack.append(self.memo[argument])

    _binget = _long_binget = _get

    def _empty_dict(self, _: None) -> None:
        self.stack.append(Pairs())

    def _tuple(self, _: None) -> None:
        self.stack.append(Sequence("tuple", self._marked()))

    def _tuple1(self, _: None) -> None:
        self._last("tuple", 1)

    def _tuple2(self, _: None) -> None:
        self._last("tuple", 2)

    def _tuple3(self, _: None) -> None:
        self._last("tuple", 3)

    def _last(self, kind: str, count: int) -> None:
        if len(self.stack) < count:
            raise CannotCompare("a pickle that takes more than it has put")
        self.stack[-count:] = [Sequence(kind, self.stack[-count:])]

    def _list(self, _: None) -> None:
        self.stack.append(Sequence("list", self._marked()))

    def _frozenset(self, _: None) -> None:
        self.stack.append(Sequence("frozenset", self._marked()))

    def _dict(self, _: None) -> None:
        self.stack.append(Pairs(_paired(self._marked())))

    def _append(self, _: None) -> None:
        item = self.stack.pop()
        _extend(self.stack[-1], [item])

    def _appends(self, _: None) -> None:
        items = self._marked()
        _extend(self.stack[-1], items)

    _additems = _appends

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _update(self.stack[-1], [(key, value)])

    def _setitems(self, _: None) -> None:
        pairs = _paired(self._marked())
        _update(self.stack[-1], pairs)

    def _named(self, module: object, name: object) -> Global:
        found = Global(str(module), str(name))
        self.globals[str(found)] = self.globals.get(str(found), 0) + 1
        return found

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self._named(module, name))

    def _stack_global(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self._named(module, name))

    def _ext1(self, argument: int) -> None:
        self.stack.append(self._named("copyreg extension", argument))

    _ext2 = _ext4 = _ext1

    def _reduce(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        self.stack.append(Call(callee, _arguments(arguments)))

    def _newobj(self, _: None) -> None:
        arguments, callee = self.stack.pop(), self.stack.pop()
        self.stack.append(Call(callee, _arguments(arguments), new=True))

    def _newobj_ex(self, _: None) -> None:
        keywords, arguments, callee = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(Call(callee, [*_arguments(arguments), keywords], new=True))

    def _obj(self, _: None) -> None:
        callee, *arguments = self._marked()
        self.stack.append(Call(callee, arguments))

    def _inst(self, argument: str) -> None:
        arguments = self._marked()
        module, _, name = argument.partition(" ")
        self.stack.append(Call(self._named(module, name), arguments))

    def _persid(self, argument: str) -> None:
        self.stack.append(Persistent(argument))

    def _binpersid(self, _: None) -> None:
        self.stack.append(Persistent(self.stack.pop()))


def _paired(flat: list[Any]) -> list[tuple[Any, Any]]:
    if len(flat) % 2:
        raise CannotCompare("a pickle with a key without a value")
    return list(zip(flat[::2], flat[1::2], strict=True))


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, Sequence) and target.kind != "tuple":
        target.items += items
    elif isinstance(target, Call):
        target.appended += items
    else:
        raise CannotCompare("a pickle that appends to what is no list")


def _update(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    if not isinstance(target, Pairs | Call):
        raise CannotCompare("a pickle that sets items of what is no dictionary")
    target.items += pairs


def _arguments(value: Any) -> list[Any]:
    return list(value.items) if isinstance(value, Sequence) else [value]
