"""A pickle machine that can only build containers, and call functions out of an allow-list.

It is a loop over opcodes of its own, so that there is no path to an import, an attribute or a
method of a real object: globals are looked up whole in a dictionary, calls go to `Known.call`, and
state goes to values of our own making, `Stateful`. Opcodes of protocols 2 to 5 are understood, but
for extension codes, out-of-band buffers and the text forms that only protocols 0 and 1 write.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from weights_convert.readers.foreign import Meter, Refused

__all__ = ["Known", "Machine", "Stateful", "check_key", "spelled"]

_UINT16, _UINT32, _UINT64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_INT32, _FLOAT64 = struct.Struct("<i"), struct.Struct(">d")
_TRUNCATED = "is truncated: its pickle ends in the middle"
# Longer lines and integers are in no checkpoint; both are cheap to forge.
_LONGEST_LINE = 512
_LONGEST_INTEGER = 255
_LARGEST_KEY = 1 << 61
# About what an empty container takes; each costs the file one byte only.
_CONTAINER_BYTES = 256


class Known:
    """A global of the allow-list, and the function of ours that stands for it.

    Attributes:
        name: "module.name".
        call: takes the machine and the arguments; None where the global is only a value.
        value: what the global is once it stands in the content; None where it has no place there.
        foreign: whether it is not on the list, so that calls of it are recorded and never made.
    """

    __slots__ = ("call", "foreign", "name", "value")

    def __init__(
        self,
        name: str,
        call: Callable[[Machine, tuple], Any] | None = None,
        value: Any = None,
        *,
        foreign: bool = False,
    ):
        self.name, self.call, self.value, self.foreign = name, call, value, foreign


class Stateful:
    """A value that the BUILD opcode may give a state."""

    __slots__ = ()

    def set_state(self, state: Any) -> None:
        """Take the state that the file gives the object."""
        raise NotImplementedError

    def drop_items(self) -> None:
        """Do without what the file puts into the object, as into a list or dictionary."""
        raise Refused("is a damaged pickle: it puts values into something that is no container")


class _Mark:
    __slots__ = ()


_MARK = _Mark()


def spelled(text: Any) -> str:
    """A file's own words, fit for one line of a message."""
    text = text if isinstance(text, str) else type(text).__name__
    short = text if len(text) <= 80 else text[:77] + "..."
    return short if short.isprintable() else ascii(short)


def check_key(key: Any) -> None:
    """Refuses keys whose hashes a file could make collide, or that are no plain values."""
    if type(key) is int:
        if not -_LARGEST_KEY < key < _LARGEST_KEY:
            raise Refused("has a dictionary key that is too large an integer")
    elif key is not None and type(key) not in (str, bytes, bool):
        raise Refused(f"has a dictionary key or set member that is a {type(key).__name__}")


class Machine:
    """Runs one pickle.

    Args:
        data: the bytes; the pickle starts at `start` and must stop before their end.
        known: the allow-list, by module and name.
        meter: pays for every opcode, shared by all pickles of a file.
        persistent: gives the value of a persistent id; None where the file has none.
        depth: how many torch files this pickle is nested in.
    """

    def __init__(
        self,
        data: memoryview,
        *,
        known: Mapping[tuple[str, str], Known],
        meter: Meter,
        start: int = 0,
        persistent: Callable[[Any], Any] | None = None,
        depth: int = 0,
    ):
        self.data, self.position, self.meter, self.depth = data, start, meter, depth
        self._known, self._persistent = known, persistent
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle; `position` is then the first byte behind it."""
        if self._byte() != 0x80:
            raise Refused("is not a pickle of protocol 2 or later")
        protocol = self._byte()
        if not 2 <= protocol <= 5:
            raise Refused(f"must be a pickle of protocol 2 to 5, got {protocol}")
        while True:
            self.meter.steps(1)
            code = self._byte()
            if code == 0x2E:
                if len(self._stack) != 1 or self._stack[0] is _MARK:
                    raise Refused("is a damaged pickle: it does not end in one value")
                return self._stack[0]
            operation = _OPERATIONS.get(code)
            if operation is None:
                name = _REFUSED.get(code, f"0x{code:02x}")
                raise Refused(f"is a damaged or unknown pickle: opcode {name} is not supported")
            operation(self)

    # Reading the bytes.

    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self.data):
            raise Refused(_TRUNCATED)
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _byte(self) -> int:
        if self.position >= len(self.data):
            raise Refused(_TRUNCATED)
        self.position += 1
        return self.data[self.position - 1]

    def _number(self, form: struct.Struct) -> Any:
        start, self.position = self.position, self.position + form.size
        if self.position > len(self.data):
            raise Refused(_TRUNCATED)
        return form.unpack_from(self.data, start)[0]

    def _text(self, count: int) -> str:
        try:
            return str(self._take(count), "utf-8")
        except UnicodeDecodeError:
            raise Refused("is a damaged pickle: a string is not UTF-8") from None

    def _python2_text(self, count: int) -> str:
        return str(self._take(count), "latin-1")

    def _line(self) -> str:
        found = bytes(self.data[self.position : self.position + _LONGEST_LINE]).find(b"\n")
        if found < 0:
            raise Refused("is a damaged pickle: the name of a global has no end")
        text = self._text(found)
        self.position += 1
        return text

    # The stack.

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _push_container(self, value: Any) -> None:
        self.meter.bytes(_CONTAINER_BYTES)
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise Refused("is a damaged pickle: its stack is empty")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise Refused("is a damaged pickle: its stack is empty")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        values = []
        while self._stack:
            value = self._stack.pop()
            if value is _MARK:
                return values[::-1]
            values.append(value)
        raise Refused("is a damaged pickle: a mark is missing")

    def _pop_few(self, count: int) -> list[Any]:
        return [self._pop() for _ in range(count)][::-1]

    def _top_of(self, kind: type) -> Any:
        target = self._top()
        if type(target) is not kind:
            raise Refused(
                f"is a damaged pickle: a {type(target).__name__} stands for a {kind.__name__}"
            )
        return target

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise Refused("is a damaged pickle: it refers to a value that it does not hold")
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        self._memo[index] = self._top()

    def _pop_or_mark(self) -> None:
        if not self._stack:
            raise Refused("is a damaged pickle: its stack is empty")
        self._stack.pop()

    def _drop_to_mark(self) -> None:
        self._pop_mark()

    # Opcodes of more than a line.

    def _integer(self, count: int) -> None:
        if not 0 <= count <= _LONGEST_INTEGER:
            raise Refused(f"holds an integer of {count} bytes")
        self._push(int.from_bytes(self._take(count), "little", signed=True))

    def _frame(self) -> None:
        if self._number(_UINT64) > len(self.data) - self.position:
            raise Refused(_TRUNCATED)

    def _set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise Refused("is a damaged pickle: a key has no value")
        if isinstance(self._top(), Stateful):
            self._top().drop_items()
            return
        target = self._top_of(dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            check_key(key)
            target[key] = value

    def _dictionary(self) -> None:
        values = self._pop_mark()
        self._push_container({})
        self._set_items(values)

    def _members(self) -> list[Any]:
        members = self._pop_mark()
        for member in members:
            check_key(member)
        return members

    def _add_items(self) -> None:
        members = self._members()
        self._top_of(set).update(members)

    def _append(self, values: list[Any]) -> None:
        if isinstance(self._top(), Stateful):
            self._top().drop_items()
            return
        self._top_of(list).extend(values)

    def _global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Refused("is a damaged pickle: the name of a global is not a string")
        known = self._known.get((module, name))
        if known is None:
            raise Refused(
                f"refers to {spelled(f'{module}.{name}')}, which this reader does not know; "
                "nothing was executed"
            )
        self._push(known)

    def _call(self, function: Any, args: Any) -> None:
        if type(function) is not Known or function.call is None:
            what = function.name if type(function) is Known else type(function).__name__
            raise Refused(
                f"calls something that is not to be called ({what}); nothing was executed"
            )
        if type(args) is not tuple:
            raise Refused(f"calls {function.name} without a tuple of arguments")
        self._push(function.call(self, args))

    def _call_with_keywords(self) -> None:
        function, args, keywords = self._pop_few(3)
        foreign = type(function) is Known and function.foreign
        if type(keywords) is not dict or (keywords and not foreign):
            raise Refused("calls a constructor with keywords, which this reader does not know")
        self._call(function, args)

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Stateful):
            target.set_state(state)
        # What is set on a dictionary are attributes of its class, such as a state dict's _metadata.
        elif type(target) is not dict or type(state) is not dict:
            raise Refused(
                f"gives a {type(target).__name__} a state, which this reader does not do; "
                "nothing was executed"
            )

    def _persistent_id(self) -> None:
        identity = self._pop()
        if self._persistent is None:
            raise Refused("refers to data outside of it (a persistent id)")
        self._push(self._persistent(identity))


def _call_popped(m: Machine) -> None:
    function, args = m._pop_few(2)
    m._call(function, args)


def _global_popped(m: Machine) -> None:
    module, name = m._pop_few(2)
    m._global(module, name)


def _global_lines(m: Machine) -> None:
    module = m._line()
    m._global(module, m._line())


_OPERATIONS: dict[int, Callable[[Machine], None]] = {
    ord("("): lambda m: m._push(_MARK),
    ord("0"): Machine._pop_or_mark,
    ord("1"): Machine._drop_to_mark,
    ord("2"): lambda m: m._push(m._top()),
    ord("N"): lambda m: m._push(None),
    0x88: lambda m: m._push(True),
    0x89: lambda m: m._push(False),
    ord("J"): lambda m: m._push(m._number(_INT32)),
    ord("K"): lambda m: m._push(m._byte()),
    ord("M"): lambda m: m._push(m._number(_UINT16)),
    0x8A: lambda m: m._integer(m._byte()),
    0x8B: lambda m: m._integer(m._number(_INT32)),
    ord("G"): lambda m: m._push(m._number(_FLOAT64)),
    ord("U"): lambda m: m._push(m._python2_text(m._byte())),
    ord("T"): lambda m: m._push(m._python2_text(m._number(_UINT32))),
    0x8C: lambda m: m._push(m._text(m._byte())),
    ord("X"): lambda m: m._push(m._text(m._number(_UINT32))),
    0x8D: lambda m: m._push(m._text(m._number(_UINT64))),
    ord("C"): lambda m: m._push(bytes(m._take(m._byte()))),
    # Long ones stay views of the file: tensors of some files come this way.
    ord("B"): lambda m: m._push(m._take(m._number(_UINT32))),
    0x8E: lambda m: m._push(m._take(m._number(_UINT64))),
    0x96: lambda m: m._push(m._take(m._number(_UINT64))),
    ord("]"): lambda m: m._push_container([]),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._pop_mark()),
    ord("l"): lambda m: m._push_container(m._pop_mark()),
    ord(")"): lambda m: m._push(()),
    ord("t"): lambda m: m._push(tuple(m._pop_mark())),
    0x85: lambda m: m._push((m._pop(),)),
    0x86: lambda m: m._push(tuple(m._pop_few(2))),
    0x87: lambda m: m._push(tuple(m._pop_few(3))),
    ord("}"): lambda m: m._push_container({}),
    ord("d"): Machine._dictionary,
    ord("s"): lambda m: m._set_items(m._pop_few(2)),
    ord("u"): lambda m: m._set_items(m._pop_mark()),
    0x8F: lambda m: m._push_container(set()),
    0x90: Machine._add_items,
    0x91: lambda m: m._push_container(frozenset(m._members())),
    ord("c"): _global_lines,
    0x93: _global_popped,
    # A function and a class are called alike: both stand in the same list.
    ord("R"): _call_popped,
    0x81: _call_popped,
    0x92: Machine._call_with_keywords,
    ord("b"): Machine._build,
    ord("q"): lambda m: m._put(m._byte()),
    ord("r"): lambda m: m._put(m._number(_UINT32)),
    0x94: lambda m: m._put(len(m._memo)),
    ord("h"): lambda m: m._get(m._byte()),
    ord("j"): lambda m: m._get(m._number(_UINT32)),
    0x95: Machine._frame,
    ord("Q"): Machine._persistent_id,
}

_REFUSED = {
    ord("i"): "INST",
    ord("o"): "OBJ",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
    ord("P"): "PERSID",
    ord("I"): "INT (of protocol 0)",
    ord("L"): "LONG (of protocol 0)",
    ord("F"): "FLOAT (of protocol 0)",
    ord("S"): "STRING (of protocol 0)",
    ord("V"): "UNICODE (of protocol 0)",
    ord("p"): "PUT (of protocol 0)",
    ord("g"): "GET (of protocol 0)",
}
