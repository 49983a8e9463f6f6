"""Reads pickles of plain values and byte arrays, as CIFAR-10 is published, without trusting them.

A pickle is a program. Here only the instructions that build numbers, text, bytes, tuples, lists and dicts are let
through, and the few names that numpy's byte arrays need stand for functions of this module: nothing is imported,
nothing of numpy sees the file before it is checked, no instruction can ask for more memory than the file is large, and
no value takes longer to hash than it is long.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmark.errors import UserError

LARGEST = 1 << 28  # bytes of a file; CIFAR-10's have 31 MB

_MOST_TUPLES = 1000  # nested deeper, taking the hash of one overflows the stack
_MOST_SHARED = 16  # uses of a tuple beyond its first: nested, each may double what its hash takes
_MOST_MEMOS = 1 << 20  # a pickle may number its memos as it likes, and Python makes room for all below

_INSTRUCTIONS = frozenset(
    """
    PROTO FRAME STOP MARK POP PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
    NONE NEWTRUE NEWFALSE INT LONG LONG1 BININT BININT1 BININT2 BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE
    BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
    """.split()  # noqa: SIM905
)


def load_plain(path: Path) -> object:
    """The value in a pickle: numbers, text, bytes (Python 2's strings, too), tuples, lists, dicts, and uint8 arrays.
    UserError for one that is damaged, too large, or would do anything but build those."""
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: {path.stat().st_size} bytes, the limit is {LARGEST}")
    content = path.read_bytes()
    try:
        _check_instructions(content)
        return _settled(_Reader(io.BytesIO(content), encoding="bytes").load())
    except Exception as error:  # of a hostile or damaged pickle, anything may come
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not the plain pickle it should be ({reason}); get the file again") from error


def _check_instructions(content: bytes) -> None:
    memos: dict[int, bool] = {}  # whether each may hold a tuple
    tuples, shared, is_tuple = 0, 0, False  # is_tuple: what is on top of the stack, perhaps
    for instruction, argument, position in pickletools.genops(content):
        name = instruction.name
        if name not in _INSTRUCTIONS:
            raise ValueError(f"{name} at byte {position}")
        if name.endswith("PUT") and int(argument) > _MOST_MEMOS:
            raise ValueError(f"memo {argument} at byte {position}")
        if name.endswith("PUT") or name == "MEMOIZE":
            memos[len(memos) if name == "MEMOIZE" else int(argument)] = is_tuple
        elif name.endswith("GET"):
            is_tuple = memos.get(int(argument), True)
            shared += is_tuple
        else:
            is_tuple = name.startswith("TUPLE") or name == "POP"
            tuples += is_tuple
        if tuples > _MOST_TUPLES or shared > _MOST_SHARED:
            raise ValueError(f"tuples in tuples at byte {position}")


class _Array:
    """What a pickle says of a numpy array, until all of it is checked."""

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def values(self) -> np.ndarray:
        _, shape, dtype, by_columns, content = self.state
        if not (isinstance(dtype, _Type) and dtype.name in ("u1", "|u1") and isinstance(content, bytes | bytearray)):
            raise ValueError("an array of something else than bytes")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if by_columns else "C")


class _Type:
    """A pickled dtype: its name."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = name.decode() if isinstance(name, bytes) else name

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment: nothing that a byte has."""


class _Function:
    """A function that a pickle may call, and may not change."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, *arguments: object) -> object:
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise ValueError("it changes a function")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(content: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.state = (1, shape, dtype, order == "F", content)
    return array


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for protocol 2."""
    return text.encode("latin-1")


_NAMES: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): None,  # an argument of _reconstruct
    ("numpy", "dtype"): _Function(_Type),
    ("_codecs", "encode"): _Function(_encode),
    # numpy 1 and 2, pickle protocols up to 4 and 5
    ("numpy.core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _Function(_frombuffer),
    ("numpy._core.numeric", "_frombuffer"): _Function(_frombuffer),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _NAMES:
            raise ValueError(f"it asks for {module}.{name}")
        return _NAMES[module, name]


def _settled(value: object) -> object:
    """With the arrays that lie in a dict, or are the value, in place of what described them."""
    if isinstance(value, dict):
        return {key: item.values() if isinstance(item, _Array) else item for key, item in value.items()}
    return value.values() if isinstance(value, _Array) else value
