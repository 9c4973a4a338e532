"""The training kernels: the cell over many steps, and the sampled softmax.

Both have hand-written gradients, for speed on a CPU: all products are bfloat16 through
oneDNN, those that need no earlier step are one large product outside the loop, and XLA
fuses what stands between. With H = 768, B = 256, T = 32 on two cores that is 2.5 times
the speed of XLA over a while loop in float32, and 3 times that of an unrolled one (see
EXPERIMENTS.md). `tests/test_train.py` holds the gradients against plain autodiff.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

BF16 = tf.bfloat16
Tensors = tuple[tf.Tensor, ...]


def _half(x: Any) -> tf.Tensor:
    return tf.cast(x, BF16)


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _cell(z_input: tf.Tensor, z_state: tf.Tensor, c: tf.Tensor) -> Tensors:
    """Gates before their non-linearity [B, 3H], c [B, H] -> c', h, the gates."""
    z = tf.cast(z_input, tf.float32) + tf.cast(z_state, tf.float32)
    i, g, o = tf.split(z, 3, -1)
    i, g, o = tf.sigmoid(i), tf.tanh(g), tf.sigmoid(o)
    c = c + i * (g - c)
    return c, _half(o * tf.tanh(c)), _half(tf.concat([i, g, o], -1))


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _cell_gradient(
    gates: tf.Tensor, c: tf.Tensor, c_next: tf.Tensor, dh: tf.Tensor, dc: tf.Tensor
) -> Tensors:
    """Gradients of the gates' inputs [B, 3H] and of c, from those of h and c'."""
    i, g, o = tf.split(tf.cast(gates, tf.float32), 3, -1)
    dh = tf.cast(dh, tf.float32)
    tanh_c = tf.tanh(c_next)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    dz = [dc * (g - c) * i * (1 - i), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)]
    return _half(tf.concat(dz, -1)), dc * (1 - i)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def recurrence(
    x: tf.Tensor,
    keep: tf.Tensor,
    c: tf.Tensor,
    r: tf.Tensor,
    input_kernel: tf.Tensor,
    state_kernel: tf.Tensor,
    gate_bias: tf.Tensor,
    projection: tf.Tensor,
) -> Any:
    """The cell of `model.py` over T steps.

    x [T, B, P]; keep [T, B, 1], 0 where the state is cleared before the step; c [B, H],
    r [B, P]: the state before. Returns the outputs r [T, B, P] and the state after; that
    state carries no gradient back (truncated backpropagation).
    """
    steps, batch, width = x.shape
    w_x, w_r, w_p = _half(input_kernel), _half(state_kernel), _half(projection)
    flat = tf.reshape(_half(x), (-1, width))
    z_input = tf.reshape(tf.matmul(flat, w_x) + _half(gate_bias), (steps, -1, w_x.shape[1]))
    before_r, before_c, after_c, hidden, gates, outputs = [], [], [], [], [], []
    r = _half(r)
    for t in range(steps):
        r, c = r * _half(keep[t]), c * keep[t]
        before_r.append(r)
        before_c.append(c)
        c, h, gate = _cell(z_input[t], tf.matmul(r, w_r), c)
        r = tf.matmul(h, w_p)
        after_c.append(c)
        hidden.append(h)
        gates.append(gate)
        outputs.append(r)

    def gradient(d_outputs: tf.Tensor, _dc: tf.Tensor, _dr: tf.Tensor) -> Tensors:
        d_outputs = _half(d_outputs)
        dr, dc = tf.zeros_like(outputs[0]), tf.zeros_like(after_c[0])
        dzs: list[Any] = [None] * steps
        drs: list[Any] = [None] * steps
        for t in reversed(range(steps)):
            drs[t] = dr = dr + d_outputs[t]
            dh = tf.matmul(dr, w_p, transpose_b=True)
            dzs[t], dc = _cell_gradient(gates[t], before_c[t], after_c[t], dh, dc)
            dr = tf.matmul(dzs[t], w_r, transpose_b=True) * _half(keep[t])
            dc = dc * keep[t]
        dz = tf.concat(dzs, 0)
        found = (
            tf.matmul(flat, dz, transpose_a=True),
            tf.matmul(tf.concat(before_r, 0), dz, transpose_a=True),
            tf.reduce_sum(tf.cast(dz, tf.float32), 0),
            tf.matmul(tf.concat(hidden, 0), tf.concat(drs, 0), transpose_a=True),
        )
        dx = tf.reshape(tf.matmul(dz, w_x, transpose_b=True), (steps, batch, width))
        full = [tf.cast(g, tf.float32) for g in (dx, *found)]
        return (
            full[0],
            tf.zeros_like(keep),
            tf.zeros_like(dc),
            tf.zeros_like(full[0][0]),
            *full[1:],
        )

    return (tf.cast(tf.stack(outputs), tf.float32), c, tf.cast(r, tf.float32)), gradient


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _softmax_parts(true: tf.Tensor, other: tf.Tensor, hit: tf.Tensor) -> Tensors:
    """Losses [N] and the gradients of the true [N] and the other logits [N, S]."""
    other = tf.where(hit, tf.constant(-1e9), tf.cast(other, tf.float32))
    top = tf.maximum(tf.reduce_max(other, -1), true)
    other, own = tf.exp(other - top[:, None]), tf.exp(true - top)
    total = own + tf.reduce_sum(other, -1)
    return tf.math.log(total) + top - true, own / total - 1, _half(other / total[:, None])


@tf.custom_gradient  # type: ignore[untyped-decorator]
def sampled_softmax(
    outputs: tf.Tensor,
    true_rows: tf.Tensor,
    true_bias: tf.Tensor,
    other_rows: tf.Tensor,
    other_bias: tf.Tensor,
    hit: tf.Tensor,
) -> Any:
    """Sum over N rows of the sampled-softmax loss, in nats.

    outputs [N, P]; true_rows [N, P], true_bias [N]: table and bias of each row's target;
    other_rows [S, P], other_bias [S]: those of the negatives, shared by all rows, each bias
    less the log of how often that piece is expected in the sample, so that the sum over
    the sample is that over all pieces but the target. hit bool[N, S]: negatives that are a
    row's own target, masked: that stands in the sum by itself, with its `true_bias`.
    """
    out, others = _half(outputs), _half(other_rows)
    true = tf.reduce_sum(outputs * true_rows, -1) + true_bias
    other = tf.matmul(out, others, transpose_b=True) + _half(other_bias)
    losses, d_true, d_other = _softmax_parts(true, other, hit)

    def gradient(d_loss: tf.Tensor) -> Tensors:
        d_outputs = tf.cast(tf.matmul(d_other, others), tf.float32) + d_true[:, None] * true_rows
        d_rows = tf.cast(tf.matmul(d_other, out, transpose_a=True), tf.float32)
        d_bias = tf.reduce_sum(tf.cast(d_other, tf.float32), 0)
        found = (d_outputs, d_true[:, None] * outputs, d_true, d_rows, d_bias)
        return (*(d_loss * g for g in found), None)

    return tf.reduce_sum(losses), gradient
