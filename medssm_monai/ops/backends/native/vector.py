"""A vector type for Numba kernels: ``LANES`` float32 numbers in one register (two registers on narrower processors).

Numba has no vector type, and the loops of a scan are too tangled for LLVM's loop vectorizer: values that live across
tokens would go through memory. With this type a kernel reads like its formula (``h = exp2(x) * h + b``) and every
local variable is a register.

Addresses are plain ``int64`` byte addresses, so that one kernel serves any strides. All operations allow contraction
to fused multiply-add, but no reassociation: results do not depend on the optimizer's choices.
"""

from __future__ import annotations

import operator

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

__all__ = [
    "FLAGS",
    "FLOATS",
    "INT64",
    "LANES",
    "ROW",
    "all_less",
    "load",
    "load_index",
    "load_int32",
    "load_number",
    "load_some",
    "maximum",
    "minimum",
    "multiply_add",
    "one_apart",
    "pointer_at",
    "pointer_to",
    "prefetch",
    "scale_by_power_of_two",
    "select_less",
    "shuffled",
    "splat",
    "splat_at",
    "splat_bits",
    "square_root",
    "store",
    "store_index",
    "store_number",
    "store_some",
    "take_one",
    "vector",
]


def _lanes() -> int:
    features = getattr(numba.config, "CPU_FEATURES")  # noqa: B009  made at run time
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    return 16 if "+avx512f" in features else 8


LANES = _lanes()
ROW = 4 * LANES  # bytes of one vector

_F32, _I32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, _VI = ir.VectorType(_F32, LANES), ir.VectorType(_I32, LANES)
FLAGS = ("contract", "nsz")


class VectorType(types.Type):
    """Numba type of a register of ``LANES`` float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"Float32x{LANES}")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, FLOATS)


def pointer_at(builder, address, kind):
    """For other intrinsics: a pointer to something of a kind, from an address."""
    return builder.inttoptr(address, kind.as_pointer())


def shuffled(builder, a, b, lanes):
    """For other intrinsics: lanes of two registers, those of ``b`` counted from the end of ``a``."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes)))


def _splat(builder, number):
    undefined = ir.Constant(FLOATS, ir.Undefined)
    return shuffled(builder, builder.insert_element(undefined, number, _I32(0)), undefined, [0] * LANES)


@intrinsic
def load(typing, address):
    """``LANES`` consecutive numbers."""
    return vector(types.int64), lambda ctx, b, sig, args: b.load(pointer_at(b, args[0], FLOATS), align=4)


@intrinsic
def store(typing, address, value):
    """Write ``LANES`` consecutive numbers."""

    def codegen(ctx, b, sig, args):
        b.store(args[1], pointer_at(b, args[0], FLOATS), align=4)
        return ctx.get_dummy_value()

    return types.void(types.int64, vector), codegen


def _first_lanes(builder, count):
    """A mask of the first ``count`` lanes."""
    some = builder.insert_element(ir.Constant(_VI, ir.Undefined), builder.trunc(count, _I32), _I32(0))
    some = shuffled(builder, some, ir.Constant(_VI, ir.Undefined), [0] * LANES)
    return builder.icmp_signed("<", ir.Constant(_VI, list(range(LANES))), some)


@intrinsic
def load_some(typing, address, count):
    """The first ``count`` of ``LANES`` consecutive numbers; the other lanes hold 0, their memory is not touched."""

    def codegen(ctx, b, sig, args):
        pointer, mask = FLOATS.as_pointer(), _first_lanes(b, args[1])
        kind = ir.FunctionType(FLOATS, [pointer, _I32, mask.type, FLOATS])
        function = cgutils.get_or_insert_function(b.module, kind, f"llvm.masked.load.v{LANES}f32.p0v{LANES}f32")
        return b.call(function, [pointer_at(b, args[0], FLOATS), _I32(4), mask, ir.Constant(FLOATS, [0.0] * LANES)])

    return vector(types.int64, types.int64), codegen


@intrinsic
def store_some(typing, address, value, count):
    """Write the first ``count`` lanes."""

    def codegen(ctx, b, sig, args):
        pointer, mask = FLOATS.as_pointer(), _first_lanes(b, args[2])
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, pointer, _I32, mask.type])
        function = cgutils.get_or_insert_function(b.module, kind, f"llvm.masked.store.v{LANES}f32.p0v{LANES}f32")
        b.call(function, [args[1], pointer_at(b, args[0], FLOATS), _I32(4), mask])
        return ctx.get_dummy_value()

    return types.void(types.int64, vector, types.int64), codegen


@intrinsic
def prefetch(typing, address):
    """Ask for the cache line at an address, which may be any."""

    def codegen(ctx, b, sig, args):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
        b.call(function, [b.inttoptr(args[0], pointer), _I32(0), _I32(3), _I32(1)])  # data, to be read, near
        return ctx.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def load_number(typing, address):
    """One float32."""
    return types.float32(types.int64), lambda ctx, b, sig, args: b.load(pointer_at(b, args[0], _F32), align=4)


@intrinsic
def store_number(typing, address, value):
    """Write one float32."""

    def codegen(ctx, b, sig, args):
        b.store(args[1], pointer_at(b, args[0], _F32), align=4)
        return ctx.get_dummy_value()

    return types.void(types.int64, types.float32), codegen


@intrinsic
def load_index(typing, address):
    """One int64."""
    return types.int64(types.int64), lambda ctx, b, sig, args: b.load(pointer_at(b, args[0], INT64), align=8)


@intrinsic
def store_index(typing, address, value):
    """Write one int64."""

    def codegen(ctx, b, sig, args):
        b.store(args[1], pointer_at(b, args[0], INT64), align=8)
        return ctx.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def load_int32(typing, address):
    """One int32, widened."""
    return types.int64(types.int64), lambda ctx, b, sig, args: b.sext(
        b.load(pointer_at(b, args[0], _I32), align=4), INT64
    )


@intrinsic
def one_apart(typing, address, step):
    """Whether each of eight int32, if not negative, is one less than that ``step`` bytes on, and else both are."""

    def codegen(ctx, b, sig, args):
        eight = ir.VectorType(_I32, 8)
        one, zero = ir.Constant(eight, [1] * 8), ir.Constant(eight, [0] * 8)
        here = b.load(pointer_at(b, args[0], eight), align=4)
        there = b.load(pointer_at(b, b.add(args[0], args[1]), eight), align=4)
        negative = b.icmp_signed("<", b.and_(here, there), zero)
        apart = b.and_(b.icmp_signed(">=", here, zero), b.icmp_signed("==", b.sub(there, here), one))
        same = b.or_(negative, apart)
        return b.icmp_unsigned("==", b.bitcast(same, ir.IntType(8)), ir.Constant(ir.IntType(8), 255))

    return types.boolean(types.int64, types.int64), codegen


@intrinsic
def pointer_to(typing, address):
    """What ``numba.carray`` takes, from an address."""

    def codegen(ctx, b, sig, args):
        return b.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), codegen


@intrinsic
def take_one(typing, address):
    """Add 1 to the int64 at an address in one step for all threads; returns what was there before."""

    def codegen(ctx, b, sig, args):
        return b.atomic_rmw("add", pointer_at(b, args[0], INT64), INT64(1), "seq_cst")

    return types.int64(types.int64), codegen


@intrinsic
def splat(typing, number):
    """The same number in every lane."""
    return vector(types.float32), lambda ctx, b, sig, args: _splat(b, args[0])


@intrinsic
def splat_at(typing, address):
    """The number at an address, in every lane."""
    return vector(types.int64), lambda ctx, b, sig, args: _splat(b, b.load(pointer_at(b, args[0], _F32), align=4))


@intrinsic
def splat_bits(typing, bits):
    """The number with these bits, the lower half of an int64, in every lane."""
    return vector(types.int64), lambda ctx, b, sig, args: _splat(b, b.bitcast(b.trunc(args[0], _I32), _F32))


def _binary(op, method):
    @intrinsic
    def instruction(typing, x, y):
        return vector(vector, vector), lambda ctx, b, sig, args: getattr(b, method)(args[0], args[1], flags=FLAGS)

    @overload(op)
    def _(x, y):
        if isinstance(x, VectorType) and isinstance(y, VectorType):
            return lambda x, y: instruction(x, y)
        return None


for _op, _method in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _binary(_op, _method)


@intrinsic
def multiply_add(typing, x, y, z):
    """``x y + z``, rounded once where the processor has an instruction for it."""

    def codegen(ctx, b, sig, args):
        name, kind = f"llvm.fmuladd.v{LANES}f32", ir.FunctionType(FLOATS, [FLOATS, FLOATS, FLOATS])
        return b.call(b.module.globals.get(name) or ir.Function(b.module, kind, name), args)

    return vector(vector, vector, vector), codegen


@intrinsic
def square_root(typing, x):
    """Square root, exactly rounded."""

    def codegen(ctx, b, sig, args):
        name, kind = f"llvm.sqrt.v{LANES}f32", ir.FunctionType(FLOATS, [FLOATS])
        return b.call(b.module.globals.get(name) or ir.Function(b.module, kind, name), args)

    return vector(vector), codegen


def _choose(comparison):
    def codegen(ctx, b, sig, args):
        return b.select(b.fcmp_ordered(comparison, args[0], args[1]), args[1], args[0])

    return codegen


@intrinsic
def maximum(typing, x, bound):
    """The larger of two; NaN in ``x`` stays NaN."""
    return vector(vector, vector), _choose("<")


@intrinsic
def minimum(typing, x, bound):
    """The smaller of two; NaN in ``x`` stays NaN."""
    return vector(vector, vector), _choose(">")


@intrinsic
def select_less(typing, x, bound, yes, no):
    """``yes`` in the lanes where ``x < bound``, else ``no``."""

    def codegen(ctx, b, sig, args):
        return b.select(b.fcmp_ordered("<", args[0], args[1]), args[2], args[3])

    return vector(vector, vector, vector, vector), codegen


@intrinsic
def all_less(typing, x, bound):
    """Whether ``x < bound`` in every lane; false where one is NaN."""

    def codegen(ctx, b, sig, args):
        bits = b.bitcast(b.fcmp_ordered("<", args[0], args[1]), ir.IntType(LANES))
        return b.icmp_unsigned("==", bits, ir.Constant(ir.IntType(LANES), (1 << LANES) - 1))

    return types.boolean(vector, vector), codegen


@intrinsic
def scale_by_power_of_two(typing, x, shifted):
    """``x 2^i`` where ``shifted = 1.5 2^23 + i`` holds the integer ``i`` in its last bits."""

    def codegen(ctx, b, sig, args):
        exponent = b.shl(b.bitcast(args[1], _VI), ir.Constant(_VI, [23] * LANES))
        return b.bitcast(b.add(b.bitcast(args[0], _VI), exponent), FLOATS)

    return vector(vector, vector), codegen
