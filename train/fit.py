"""Piece ids -> trained weights, in checkpoints that resume bit for bit."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kbengine.vocab import BOS, EOS
from train.checkpoint import CHECKPOINT, read_best
from train.corpus import one_pass
from train.model import ModelOptions, RecurrentLM, State
from train.negatives import Negatives
from train.options import FitOptions
from train.progress import Progress
from train.recurrence import sampled_softmax

Ids = NDArray[np.uint16]


# What a run may go on with another value of: how long it lasts and how often it is looked at.
MAY_CHANGE = frozenset(("pieces", "patience", "eval_every", "save_every_s"))


class Stream:
    """Batches of pieces by step number: the same step always gives the same batch."""

    def __init__(
        self, encoded: Sequence[Ids], weights: Sequence[float], options: FitOptions
    ) -> None:
        self._encoded, self._weights, self._options = encoded, weights, options
        self._starts = [0]  # the first step of each pass
        self._lanes: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self._load(0)

    def _load(self, number: int) -> None:
        o = self._options
        rng = np.random.default_rng([o.seed, number])
        stream = one_pass(self._encoded, self._weights, o.stretch, rng).astype(np.int32)
        size = (len(stream) - 1) // o.lanes
        if size < o.steps:
            raise ValueError(
                f"the text has {len(stream):,} pieces, too few for {o.lanes} lanes of {o.steps}; "
                "give more text or --preset tiny"
            )
        self._number = number
        self._targets = stream[1 : 1 + o.lanes * size].reshape(o.lanes, size)
        inputs = stream.copy()
        inputs[(inputs == EOS) & (rng.random(len(inputs)) < o.reset)] = BOS
        inputs = inputs[: o.lanes * size].reshape(o.lanes, size)
        inputs[:, 0] = BOS
        self._inputs = inputs
        self.steps = size // o.steps

    def batch(self, step: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Inputs and targets of a step, int32[T, B] each."""
        while step >= self._starts[self._number] + self.steps:
            if len(self._starts) == self._number + 1:
                self._starts.append(self._starts[-1] + self.steps)
            self._load(self._number + 1)
        t = self._options.steps
        begin = (step - self._starts[self._number]) * t
        cut = np.s_[:, begin : begin + t]
        return self._inputs[cut].T.copy(), self._targets[cut].T.copy()


def dev_loss(model: RecurrentLM, ids: Ids, alone: bool, lanes: int = 64, steps: int = 32) -> float:
    """Nats a piece (full softmax) on dev text: every message alone, or all in one talk."""
    stream = np.concatenate([[EOS], ids]).astype(np.int32)
    ends = np.flatnonzero(stream[:-1] == EOS)
    # Lanes begin at message starts; what is short of the longest is padding, not counted.
    # Enough messages in each lane to have a conversation.
    lanes = max(1, min(lanes, len(ends) // 8))
    wanted = np.searchsorted(ends, np.arange(lanes) * (len(ids) / lanes))
    starts = ends[np.unique(np.minimum(wanted, len(ends) - 1))]
    parts = [stream[a : b + 1] for a, b in zip(starts, [*starts[1:], len(stream) - 1], strict=True)]
    longest = max(len(part) for part in parts) - 1
    padded = np.full((len(parts), -(-longest // steps) * steps + 1), EOS, np.int32)
    weight = np.zeros((len(parts), padded.shape[1] - 1), np.float32)
    for row, part in enumerate(parts):
        padded[row, : len(part)] = part
        weight[row, : len(part) - 1] = 1
    inputs = padded[:, :-1].copy()
    inputs[:, 0] = BOS
    if alone:
        inputs[inputs == EOS] = BOS
    state = model.zero_state(len(parts))
    total = 0.0
    for begin in range(0, weight.shape[1], steps):
        cut = np.s_[:, begin : begin + steps]
        loss, state = _dev_step(model, inputs[cut].T, padded[:, 1:][cut].T, weight[cut].T, state)
        total += float(loss)
    return total / float(weight.sum())


@tf.function  # type: ignore[untyped-decorator]
def _dev_step(
    model: RecurrentLM, inputs: tf.Tensor, targets: tf.Tensor, weight: tf.Tensor, state: State
) -> tuple[tf.Tensor, State]:
    streams = 2 if inputs.shape[1] % 2 == 0 else 1
    outputs, state = model.unroll(inputs, state, streams)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, model.logits(outputs))
    return tf.reduce_sum(losses * weight), state


def read_facts(
    folder: Path, shape: ModelOptions, options: FitOptions, weights: Sequence[float]
) -> dict[str, Any] | None:
    """What the checkpoint of a folder tells of its run; None where there is none.

    Raises ValueError where the run was begun with other settings than these.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with np.load(path) as saved:
        facts: dict[str, Any] = json.loads(str(saved["facts"]))
    mend = "give another --work folder, or remove it"
    begun = {**facts["options"], **facts["shape"]}
    for name, value in {**asdict(options), **asdict(shape)}.items():
        if begun.get(name) != value and name not in MAY_CHANGE:
            raise ValueError(
                f"{path} was begun with {name} {begun.get(name, 'unknown')}, not {value}; {mend}"
            )
    if facts["weights"] != list(weights):
        raise ValueError(f"{path} was begun with other weights of the sources; {mend}")
    return facts


class Fit:
    """One training run in a folder: checkpoint, log and plot stand there.

    It goes on from the checkpoint; where there is none, it begins with the weights `before`
    of a model with as many cells or fewer, or else with random ones.
    """

    STREAMS = 2  # groups of lanes that run side by side, one for each core

    def __init__(
        self,
        folder: Path,
        shape: ModelOptions,
        options: FitOptions,
        encoded: Sequence[Ids],
        weights: Sequence[float],
        dev: Ids,
        before: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        self.folder, self.options, self._dev = folder, options, dev
        self._weights = list(weights)
        facts = read_facts(folder, shape, options, weights)
        folder.mkdir(parents=True, exist_ok=True)
        self.model = RecurrentLM(shape, options.seed)
        if before is not None:
            self.model.begin_from(before)
        self._begin = self.model.weights_by_name() if options.begin_share else {}
        self._optimizer = keras.optimizers.Adam(options.rate, beta_2=0.99, epsilon=1e-7)
        self._optimizer.build(self.model.trainable_variables)
        self._stream = Stream(encoded, weights, options)
        counts = np.zeros(shape.vocab_size)
        for ids, weight in zip(encoded, weights, strict=True):
            counts += weight * np.bincount(ids, minlength=shape.vocab_size)
        self._negatives = Negatives(counts, options)
        self.step = 0
        self.stop = False  # set it, from a signal say, to save and end after this step
        self.best = math.inf
        self._logged_s = time.monotonic()
        self.log: list[dict[str, float]] = []
        self._best_weights = self.model.weights_by_name()
        self._state = self.model.zero_state(options.lanes)
        if facts is not None:
            self._load(facts)

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    @tf.function  # type: ignore[untyped-decorator]
    def _train_step(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        negatives: tf.Tensor,
        state: State,
        step: tf.Tensor,
    ) -> tuple[tf.Tensor, State]:
        """One batch: int32[T, B] inputs and targets, int32[S] negatives, the number of the step
        -> loss, state."""
        model = self.model
        masks = self._masks((2, *inputs.shape, model.options.width), step)
        with tf.GradientTape() as tape:
            outputs, state = model.unroll(inputs, state, self.STREAMS, masks[0])
            loss = self._loss(outputs * masks[1], targets, negatives)
        gradients = tape.gradient(loss, [w.value for w in model.trainable_variables])
        self._apply([tf.convert_to_tensor(g) for g in gradients])
        return loss, state

    def _loss(self, outputs: tf.Tensor, targets: tf.Tensor, negatives: tf.Tensor) -> tf.Tensor:
        """Nats a piece: outputs [T, B, P], int32[T, B] targets, int32[S] negatives."""
        model = self.model
        other_rows = tf.gather(model.table, negatives)
        logq = self._negatives.logq
        other_bias = tf.gather(model.bias, negatives) - tf.gather(logq, negatives)
        right_bias = model.bias - (logq if self.options.target_drawn else 0.0)
        loss = 0.0
        for out, right in zip(
            tf.split(outputs, self.STREAMS, 1), tf.split(targets, self.STREAMS, 1), strict=True
        ):
            right = tf.reshape(right, [-1])
            loss += sampled_softmax(
                tf.reshape(out, (-1, model.options.width)),
                tf.gather(model.table, right),
                tf.gather(right_bias, right),
                other_rows,
                other_bias,
                tf.equal(right[:, None], negatives[None, :]),
            )
        return loss / tf.size(targets, tf.float32)

    def _masks(self, shape: tuple[int, ...], step: tf.Tensor) -> Sequence[tf.Tensor | float]:
        """What inputs and outputs are multiplied by: 0 or 1 / (1 - dropout)."""
        keep = 1 - self.options.dropout
        if keep == 1:
            return (1.0, 1.0)
        drawn = tf.random.stateless_uniform(shape, tf.stack([self.options.seed, step]))
        masks: list[tf.Tensor] = tf.unstack(tf.floor(drawn + keep) / keep)
        return masks

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def _apply(self, gradients: list[tf.Tensor]) -> None:
        gradients, _ = tf.clip_by_global_norm(gradients, self.options.clip)
        self._optimizer.apply(gradients, self.model.trainable_variables)

    def run(self) -> None:
        """Train to the end, from where the checkpoint stands."""
        o = self.options
        saved_s = time.monotonic()
        losses: list[tf.Tensor] = []
        piece_count = o.lanes * o.steps
        with Progress(f"fitting {self.folder.name}", o.total_steps * piece_count, "piece") as bar:
            bar.start_at(self.step * piece_count)
            while not self._ended and not self.stop:
                inputs, targets = self._stream.batch(self.step)
                negatives = self._negatives.draw(self.step)
                self._optimizer.learning_rate.assign(o.rate_at(self.step))
                loss, self._state = self._train_step(
                    inputs, targets, negatives, self._state, tf.constant(self.step)
                )
                losses.append(loss)
                self.step += 1
                at_end = self.step == o.total_steps
                bar.step(piece_count, f"loss {float(loss):.3f}")
                if self.step % o.eval_every == 0 or at_end:
                    self._evaluate(losses, bar.rate)
                    losses = []
                if at_end or (self.step % 20 == 0 and time.monotonic() - saved_s > o.save_every_s):
                    self.save()
                    saved_s = time.monotonic()
        if self._mixing_is_due and not self.stop:
            self._mix_in_begin()
        self.save()

    def _mix_in_begin(self) -> None:
        """Evaluate the best weights mixed with those of the beginning, and keep what is better."""
        now, share = self.model.weights_by_name(), self.options.begin_share
        best = self._best_weights
        self.model.assign_by_name(
            {name: (1 - share) * best[name] + share * self._begin[name] for name in now}
        )
        self._evaluate([], self.log[-1]["pieces_per_s"], begin_share=share)
        self.model.assign_by_name(now)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._ended and not self._mixing_is_due

    @property
    def _ended(self) -> bool:
        """Whether the last step is done, or the patience has ended."""
        return self.step >= self.options.total_steps or self._stale >= self.options.patience

    @property
    def _mixing_is_due(self) -> bool:
        return self._ended and bool(self._begin) and "begin_share" not in self.log[-1]

    @property
    def _stale(self) -> int:
        """How many evaluations there were since the best one."""
        rows = [row for row in self.log if "begin_share" not in row]
        losses = [row["dev_alone"] + row["dev_talk"] for row in rows]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0

    def _evaluate(self, losses: list[tf.Tensor], rate: float, **more: float) -> None:
        """Log the dev loss, and keep the weights where it is the best so far."""
        alone = dev_loss(self.model, self._dev, alone=True)
        talk = dev_loss(self.model, self._dev, alone=False)
        dev = (alone + talk) / 2
        if dev < self.best:
            self.best, self._best_weights = dev, self.model.weights_by_name()
        row = {
            "step": self.step,
            "pieces": self.step * self.options.lanes * self.options.steps,
            "train": float(np.mean([float(x) for x in losses]))
            if losses
            else self.log[-1]["train"],
            "dev_alone": alone,
            "dev_talk": talk,
            "rate": self.options.rate_at(self.step),
            "pieces_per_s": rate,
            "seconds": time.monotonic() - self._logged_s,
            **more,
        }
        self._logged_s = time.monotonic()
        self.log.append(row)
        (self.folder / "log.json").write_text(json.dumps(self.log, indent=0))
        plot_log(self.log, self.folder / "loss.png")

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        arrays: dict[str, Any] = {f"now/{k}": v for k, v in self.model.weights_by_name().items()}
        arrays |= {f"best/{k}": v for k, v in self._best_weights.items()}
        arrays |= {f"adam/{i}": v.numpy() for i, v in enumerate(self._optimizer.variables)}
        arrays |= {"c": self._state[0].numpy(), "r": self._state[1].numpy()}
        facts = {
            "step": self.step, "best": self.best, "log": self.log,
            "shape": asdict(self.model.options), "options": asdict(self.options),
            "weights": self._weights, "finished": self.finished,
        }  # fmt: skip
        partial = self.checkpoint.with_suffix(".part")
        with open(partial, "wb") as out:
            np.savez(out, facts=np.array(json.dumps(facts)), **arrays)
        os.replace(partial, self.checkpoint)

    def _load(self, facts: dict[str, Any]) -> None:
        with np.load(self.checkpoint) as saved:
            self.step, self.best, self.log = facts["step"], facts["best"], facts["log"]
            self.model.assign_by_name({w.name: saved[f"now/{w.name}"] for w in self.model.weights})
            self._best_weights = {w.name: saved[f"best/{w.name}"] for w in self.model.weights}
            for i, variable in enumerate(self._optimizer.variables):
                variable.assign(saved[f"adam/{i}"])
            self._state = tf.constant(saved["c"]), tf.constant(saved["r"])


def load_best(folder: Path) -> tuple[RecurrentLM, dict[str, Any]]:
    """The best model of a run's folder, and the facts of its checkpoint.

    Raises ValueError where there is none yet.
    """
    weights, facts = read_best(folder / CHECKPOINT)
    model = RecurrentLM(ModelOptions(**facts["shape"]))
    model.assign_by_name(weights)
    return model, facts


def plot_log(log: Sequence[dict[str, float]], path: Path) -> None:
    """Train and dev loss against pieces seen, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    seen = [row["pieces"] / 1e6 for row in log]
    for name, label in (("train", "train (sampled)"), ("dev_alone", "dev, message alone"),
                        ("dev_talk", "dev, in a conversation")):  # fmt: skip
        axes.plot(seen, [row[name] for row in log], label=label)
    axes.set_xlabel("million pieces")
    axes.set_ylabel("nats a piece")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
