"""Bundles that are damaged or forged: refused in one sentence, and never run.

`make soak` tries ten thousand, `make test` some hundreds.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece as spm
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import kbengine
from kbengine.arrays import dump_arrays
from kbengine.bundle import read_bundle, write_bundle
from kbengine.emojitable import EmojiTable
from kbengine.errors import BundleError, ModelError
from kbengine.lexicon import Lexicon
from kbengine.lm import tflite
from kbengine.lm.stepfile import check
from kbengine.lm.tflite import TFLiteModel
from kbengine.vocab import Vocabulary
from tests import hostile
from tests.smallmodel import packed, shipped_model, small_model, unpacked
from tests.soak import times
from tests.toys import toy_vocabulary

pytestmark = [
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore:Duplicate name"),  # made on purpose
    pytest.mark.skipif(sys.platform != "linux", reason="children get Linux's RLIMIT_AS"),
]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The sha256 of all that the native runtime was given."""
    found: set[str] = set()
    real = tflite.Interpreter

    def spy(model_content: bytes, **options: Any) -> Any:
        found.add(hashlib.sha256(model_content).hexdigest())
        return real(model_content=model_content, **options)

    monkeypatch.setattr(tflite, "Interpreter", spy)
    return found


def test_the_small_world_works(tmp_path: Path, seen: set[str]) -> None:
    """So what is refused below is refused for what was done to it."""
    path = tmp_path / "small.bundle"
    path.write_bytes(hostile.small_bundle())
    assert hostile.verdict(path).result == "loaded"
    assert seen == {hashlib.sha256(small_model()).hexdigest()}


def test_a_forged_bundle_is_refused_or_whole(tmp_path: Path, seen: set[str]) -> None:
    path = tmp_path / "forged.bundle"
    results: Counter[str] = Counter()
    count = times(300, 10_000)
    for seed in range(count):
        path.write_bytes(hostile.forged_bundle(seed))
        verdict = hostile.verdict(path, seed)
        verdict.check()
        results[verdict.result] += 1
        if verdict.result == "loaded":
            assert read_bundle(path).parts == hostile.small_parts(), seed
    assert seen == {hashlib.sha256(small_model()).hexdigest()}
    assert results["BundleError"] > count / 2
    assert results["loaded"] > 0, "forgeries that leave all parts alone are among them"


@pytest.mark.parametrize(
    ("subject", "quick", "soak"), [("part", 120, 4000), ("model", 120, 4000), ("foreign", 80, 2000)]
)
def test_what_has_the_right_hash_is_refused_or_works(subject: str, quick: int, soak: int) -> None:
    """Each in a child process: nothing crashes, hangs, or takes gigabytes."""
    found = hostile.opened_in_children(subject, times(quick, soak))
    for verdict in found:
        verdict.check()
    assert len({verdict.message for verdict in found}) > 5, "for many reasons"


def test_a_child_that_crashes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="no such subject"):
        hostile.opened_in_children("no such subject", 1)


# Bombs and other archives


@pytest.mark.parametrize("part", ["emoji", "manifest.json"])
def test_a_bomb_is_refused(tmp_path: Path, part: str) -> None:
    """A member of much more than it may hold, in a process that may not have the room for it."""
    path = tmp_path / "bomb.bundle"
    megabytes = times(256, 4096)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in hostile.members().items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
                for _ in range(megabytes if name == part else 0):
                    member.write(bytes(1 << 20))
    assert path.stat().st_size < megabytes << 11
    program = "from tests import hostile\nprint(hostile.verdict(Path(sys.argv[1])))"
    done = hostile.run_limited(200_000_000, program, str(path))
    assert done.returncode == 0, done.stderr
    assert "BundleError" in done.stdout


def test_a_list_of_many_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.bundle"
    more = [(f"{i}", b"") for i in range(100)]
    data = bytearray(hostile.archive_of([*hostile.members().items(), *more]))
    path.write_bytes(data)
    assert hostile.verdict(path).result == "BundleError"
    # `zipfile` goes by the bytes of the list, whatever count stands beside them.
    struct.pack_into("<HH", data, data.rindex(b"PK\5\6") + 8, 5, 5)
    path.write_bytes(data)
    assert hostile.verdict(path).result == "BundleError"


def test_numbers_of_64_bits_do_not_hide_such_a_list(tmp_path: Path) -> None:
    """An archive may state its counts twice, in 16 bits and, before that, in 64."""
    path = tmp_path / "large.bundle"
    more = [(f"{i}", b"") for i in range(100)]
    data = hostile.archive_of([*hostile.members().items(), *more])
    end = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<HII", data, end + 10)
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    short = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size, start, 0)
    path.write_bytes(data[:end] + record + locator + short)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == count
    verdict = hostile.verdict(path)
    verdict.check()
    assert verdict.result == "BundleError"


def test_members_with_numbers_of_64_bits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "large.bundle"
    path.write_bytes(hostile.archive_of([*hostile.members().items(), ("zip64", b"x")]))
    assert hostile.verdict(path).result == "loaded"


@pytest.mark.parametrize("name", ["notice", "name", "version"])
@pytest.mark.parametrize("value", [float("nan"), ["x"], None, 1, "\ud800"])
def test_what_the_server_tells_of_a_bundle_is_text(tmp_path: Path, name: str, value: Any) -> None:
    path, members = tmp_path / "odd.bundle", hostile.members()
    manifest = {**json.loads(members["manifest.json"]), name: value}
    members["manifest.json"] = json.dumps(manifest).encode()
    path.write_bytes(hostile.archive_of(members))
    hostile.verdict(path).check()
    assert hostile.verdict(path).result == "BundleError"


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_numbers_of_a_manifest_are_finite(tmp_path: Path, number: str) -> None:
    """NaN is not even equal to itself, so nothing could be compared to such a manifest."""
    path, members = tmp_path / "odd.bundle", hostile.members()
    told = members["manifest.json"].decode()
    members["manifest.json"] = told.replace("{", f'{{"figure": {number}, ', 1).encode()
    path.write_bytes(hostile.archive_of(members))
    hostile.verdict(path).check()
    with pytest.raises(BundleError, match="is not JSON of finite numbers"):
        read_bundle(path)
    manifest = {**hostile.small_manifest(), "figure": float(number)}
    with pytest.raises(ValueError, match="JSON"):
        write_bundle(tmp_path / "new.bundle", manifest, hostile.small_parts())
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


# Parts that would load, but take long or fail at a key press


def lexicon_of(**changes: Any) -> bytes:
    """A lexicon of three nodes in a row, with some of its arrays replaced."""
    arrays = {
        "pieces": np.array([0, 20, 21], np.uint16), "children": np.array([1, 1, 0], np.uint16),
        "rarity": np.array([255, 60, 60], np.uint8), "form": np.zeros(3, np.uint8),
        "written": np.zeros(0, np.uint8),
    }  # fmt: skip
    return dump_arrays(arrays | changes)


def deep_lexicon(size: int) -> bytes:
    return lexicon_of(
        pieces=np.full(size, 20, np.uint16), rarity=np.full(size, 60, np.uint8),
        children=np.array([1] * (size - 1) + [0], np.uint16), form=np.zeros(size, np.uint8),
    )  # fmt: skip


def test_the_lexicon_that_is_altered_below_is_one() -> None:
    assert len(Lexicon.from_bytes(lexicon_of(), toy_vocabulary())) == 2
    assert len(Lexicon.from_bytes(deep_lexicon(250), toy_vocabulary())) == 250


@pytest.mark.parametrize(
    "data",
    [
        lexicon_of(form=np.array([0, 8, 0], np.uint8)),
        lexicon_of(form=np.array([0, 3, 0], np.uint8)),
        lexicon_of(written=np.frombuffer(b"iPhone", np.uint8)),
        lexicon_of(form=np.array([0, 3, 0], np.uint8), written=np.array([0xFF], np.uint8)),
        lexicon_of(children=np.array([0, 1, 1], np.uint16)),
        lexicon_of(children=np.array([1, 65535, 2], np.uint16)),
        lexicon_of(pieces=np.array([0, 20, 60000], np.uint16)),
        lexicon_of(**dict.fromkeys(("pieces", "children"), np.zeros(0, np.uint16))),
        deep_lexicon(300),
        b" " * 5000 + lexicon_of(),
    ],
)
def test_a_lexicon_that_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        Lexicon.from_bytes(data, toy_vocabulary())
    assert hostile.one_sentence(str(caught.value))


def test_an_emoji_without_end_is_refused_without_repeating_it() -> None:
    with pytest.raises(BundleError) as caught:
        EmojiTable.from_bytes(b"x" * 100_000 + b"\t\t\n")
    assert hostile.one_sentence(str(caught.value))


def test_a_vocabulary_that_no_lexicon_could_name_is_refused() -> None:
    """A protobuf's fields may come again: the pieces of this one, and many more."""
    more = b"".join(
        b"\x0a"
        + bytes([len(piece) + 7])
        + b"\x0a"
        + bytes([len(piece)])
        + piece
        + b"\x15"
        + bytes(4)
        for piece in (f"zz{i}".encode() for i in range(1 << 16))
    )
    with pytest.raises(BundleError, match="train a smaller one"):
        Vocabulary(hostile.small_parts()["vocabulary"] + more)


def test_a_vocabulary_with_rules_of_its_own_is_refused(tmp_path: Path) -> None:
    """One letter of it may stand for a million."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(["see you tomorrow"] * 9), model_writer=model, vocab_size=14,
        unk_id=0, bos_id=1, eos_id=2, pad_id=-1, normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )  # fmt: skip
    with pytest.raises(BundleError, match="changes what it reads") as caught:
        Vocabulary(model.getvalue())
    assert hostile.one_sentence(str(caught.value))


@pytest.mark.parametrize("columns", ["😂\t{}\tjoy\n", "😂\tjoy\ttears|{}\n"])
def test_an_emoji_whose_name_does_not_end_is_refused(columns: str) -> None:
    """The normal form of many accents takes minutes."""
    with pytest.raises(BundleError, match="a name of more than") as caught:
        EmojiTable.from_bytes(columns.format("a" + "\u0316\u0300" * 60).encode())
    assert hostile.one_sentence(str(caught.value))


# Step models that are well built, but of another contract

Alter = Callable[[Any], None]


def altered(alter: Alter) -> bytes:
    model = unpacked(small_model())
    alter(model)
    return packed(model)


def graph_of(model: Any, name: bytes) -> Any:
    (found,) = (s for s in model.signatureDefs if s.signatureKey == name)
    return model.subgraphs[found.subgraphIndex]


def rename_signature(model: Any) -> None:
    model.signatureDefs[0].signatureKey = b"serving_default"


def swap_inputs(model: Any) -> None:
    one, other = model.signatureDefs[0].inputs
    one.name, other.name = other.name, one.name


def rename_output(model: Any) -> None:
    model.signatureDefs[1].outputs[0].name = b"memory"


def other_type(model: Any) -> None:
    for graph in model.subgraphs:
        graph.tensors[1].type = schema.TensorType.INT64


def rank_one_state(model: Any) -> None:
    for graph in model.subgraphs:
        graph.tensors[0].shape = [32]
        graph.tensors[0].shapeSignature = [32]


def free_state(model: Any) -> None:
    for graph in model.subgraphs:
        graph.tensors[0].shapeSignature = [-1, -1]


def variable_state(model: Any) -> None:
    model.subgraphs[0].tensors[0].isVariable = True


def unlike_states(model: Any) -> None:
    """One graph gives its state with one column less, by a slice before its output."""
    graph = graph_of(model, b"state")
    out = graph.outputs[0]
    graph.tensors[out].shape = [1, 31]
    graph.tensors[out].shapeSignature = [-1, 31]


def no_number(model: Any) -> None:
    graph = graph_of(model, b"logits")
    bias = next(t for t in graph.tensors if list(t.shape) == [600] and t.type == 0)
    nan = np.full(600, np.nan, np.float32)
    model.buffers[bias.buffer].data = np.frombuffer(nan.tobytes(), np.uint8)


def fewer_pieces(model: Any) -> None:
    """The tables that are read have fewer rows than there are scores."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode == 36:
                table = graph.tensors[operator.inputs[0]]
                item = 1 if table.type == schema.TensorType.INT8 else 4
                size = 500 * item * (8 if len(table.shape) == 2 else 1)
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = model.buffers[table.buffer].data[:size]
                table.buffer = len(model.buffers) - 1
                table.shape = [500, *table.shape[1:]]


def shuffled_weights(model: Any) -> None:
    """A layout of weights that the kernel reads in another order, beyond their end."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            if isinstance(operator.builtinOptions, schema.FullyConnectedOptionsT):
                operator.builtinOptions.weightsFormat = 1


def custom_op(model: Any) -> None:
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = b"Flex"


def control_dependencies(model: Any) -> None:
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"model_control_dependencies", 5
    model.metadata.append(entry)


def swapped_order(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.operators[3], graph.operators[4] = graph.operators[-1], graph.operators[3]


def many_readers(model: Any) -> None:
    """The runtime packs the weights of each op apart, though they stand in the file once."""
    graph = graph_of(model, b"logits")
    table = next(
        operator for operator in graph.operators
        if isinstance(operator.builtinOptions, schema.FullyConnectedOptionsT)
        and len(graph.tensors[operator.inputs[1]].shape) == 2
        and graph.tensors[operator.inputs[1]].shape[0] == len(toy_vocabulary())
    )  # fmt: skip
    for _ in range(40):
        again = copy.deepcopy(table)
        graph.tensors.append(copy.deepcopy(graph.tensors[table.outputs[0]]))
        again.outputs = [len(graph.tensors) - 1]
        graph.operators.append(again)


def wide_tensors(model: Any) -> None:
    """Steps whose arena would be larger than any model's: many copies of the logits."""
    graph = graph_of(model, b"logits")
    scores = max(graph.tensors, key=lambda t: np.prod(np.abs(t.shape)) * (t.buffer == 0))
    for _ in range(200):
        more = copy.deepcopy(scores)
        more.shape, more.shapeSignature = [1, 6000], [-1, 6000]
        graph.tensors.append(more)


def unlike_widths(model: Any) -> None:
    graph = graph_of(model, b"state")
    (_, state) = sorted(graph.inputs, key=lambda i: len(graph.tensors[i].shape))
    operator = next(
        o for o in reversed(graph.operators) if isinstance(o.builtinOptions, schema.MulOptionsT)
    )
    operator.inputs = [operator.inputs[0], state]


ALTERATIONS: tuple[Alter, ...] = (
    rename_signature, swap_inputs, rename_output, other_type, rank_one_state, free_state,
    variable_state, unlike_states, no_number, fewer_pieces, shuffled_weights, custom_op,
    control_dependencies, swapped_order,
)  # fmt: skip


def test_repacking_alone_does_no_harm() -> None:
    assert check(altered(lambda model: None)) == check(small_model())


@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__)
def test_a_foreign_step_model_never_reaches_the_runtime(alter: Alter, seen: set[str]) -> None:
    with pytest.raises(ModelError) as caught:
        TFLiteModel(altered(alter))
    assert hostile.one_sentence(str(caught.value))
    assert not seen


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (many_readers, "weights that too many ops read"),
        (wide_tensors, "tensors too large for a step"),
        (unlike_widths, "a sum or product of unlike tensors"),
    ],
)
def test_what_would_cost_or_break_the_runtime_is_named(
    alter: Alter, said: str, seen: set[str]
) -> None:
    with pytest.raises(ModelError, match=said):
        TFLiteModel(altered(alter))
    assert not seen


def test_a_model_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.bundle"
    parts = {**hostile.small_parts(), "model": shipped_model()}
    write_bundle(path, hostile.small_manifest(), parts)
    verdict = hostile.verdict(path)
    verdict.check()
    assert verdict.result == "BundleError"
    assert str(check(shipped_model()).vocab) in verdict.message


def test_the_shipped_model_keeps_the_contract() -> None:
    sizes = check(shipped_model())
    runner = Interpreter(model_content=shipped_model()).get_signature_runner("state")
    (state,) = runner.get_output_details().values()
    assert sizes == (state["shape_signature"][1], len(kbengine.load().vocabulary))
