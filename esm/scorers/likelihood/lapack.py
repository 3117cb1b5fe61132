"""The LAPACK routines of dense maps, called so that other threads can work meanwhile.

SciPy's wrappers hold the interpreter's lock while the routine runs, so that two maps in two
threads take as long as one after the other. Its own pointers to the same routines
(``scipy.linalg.cython_lapack``), called by ctypes, let go of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

from esm.common.arrays import Float64
from esm.common.errors import FitError

# Columns that LAPACK reduces before it updates the rest; 32, its own choice, is slower here.
_PANEL = 16
_WORK_PER_COLUMN = 64


def triangular_product(upper: Float64, right: Float64) -> Float64:
    """Return the product of an upper triangular (q, q) and a (q, m) matrix: q² m.

    The second is overwritten if it is in Fortran's order.
    """
    upper, product = np.asfortranarray(upper), np.asfortranarray(right)
    rows, columns = product.shape
    size = _integer(rows)
    _dtrmm(
        b"L", b"U", b"N", b"N", size, _integer(columns), _ONE, _at(upper), size, _at(product), size
    )
    return product


def tridiagonal(matrix: Float64, sides: Float64) -> tuple[Float64, Float64, Float64]:
    """Bring a symmetric matrix to the form Q T Q^T with T tridiagonal: 4/3 q³.

    Args:
        matrix: (q, q); overwritten if it is in Fortran's order.
        sides: (q, m).

    Returns:
        T's diagonal (q,), what is beside it (q - 1, but at least one 0), and Q^T times the sides.

    Raises:
        FitError: LAPACK reports an error.
    """
    reduced, turned = np.asfortranarray(matrix), np.array(sides, order="F")
    order, columns = turned.shape
    diagonal, beside, factors = (
        np.zeros(order),
        np.zeros(max(1, order - 1)),
        np.zeros(max(1, order - 1)),
    )
    size = _integer(order)
    _call(
        _dsytrd,
        _PANEL * order,
        (b"L", size, _at(reduced), size, _at(diagonal), _at(beside), _at(factors)),
    )
    _call(
        _dormtr,
        _WORK_PER_COLUMN * columns,
        (
            b"L",
            b"L",
            b"T",
            size,
            _integer(columns),
            _at(reduced),
            size,
            _at(factors),
            _at(turned),
            size,
        ),
    )
    return diagonal, beside, turned


def _call(routine: Callable[..., None], length: int, arguments: tuple[Any, ...]) -> None:
    """Call a routine that ends with its working space and an error code."""
    work, failed = np.empty(max(1, length)), ctypes.c_int64(0)
    routine(*arguments, _at(work), _integer(len(work)), ctypes.byref(failed))
    if failed.value:
        raise FitError(f"tridiagonal form: LAPACK returned {failed.value}")


def _routine(module: Any, name: str, flags: int, others: int) -> Callable[..., None]:
    """Return a routine of Fortran: flags are letters, all else is passed by its address."""
    capsule = module.__pyx_capi__[name]
    address = _capsule_pointer(capsule, _capsule_name(capsule))
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_char_p] * flags, *[ctypes.c_void_p] * others)
    return kind(address)


def _at(array: Float64) -> int:
    return int(array.ctypes.data)


def _integer(value: int) -> Any:
    # Of 64 bits whatever the routine reads: of a small number, the first 32 are the same.
    return ctypes.byref(ctypes.c_int64(value))


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

_ONE = ctypes.byref(ctypes.c_double(1.0))
_dtrmm = _routine(cython_blas, "dtrmm", 4, 7)
_dsytrd = _routine(cython_lapack, "dsytrd", 1, 9)
_dormtr = _routine(cython_lapack, "dormtr", 3, 10)
