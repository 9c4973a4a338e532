"""`python -m train serving`: what it writes is loaded afresh, and asked as docs/serving.md says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbengine.errors import ModelError
from kbengine.lm.tflite import TFLiteModel
from kbengine.packaged import DEFAULT_BUNDLE
from kbengine.vocab import BOS, Vocabulary
from tests.documents import ROOT, blocks
from train.__main__ import main
from train.pieces import DEFAULT_TEXT, read_pieces
from train.served import Served
from train.serving import write
from train.trained import Trained, read_trained

NANO = DEFAULT_BUNDLE.parent / "en-nano.bundle"
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained() -> Trained:
    return read_trained(NANO)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """The base path of a server of the small shipped model."""
    folder = tmp_path_factory.mktemp("serving") / "served"
    found = write(trained, folder, 1, read_pieces([DEFAULT_TEXT], trained.vocabulary, 200))
    assert found["steps"] == 199
    assert found["top1"] > 0.95
    assert found["apart"] < 1e-3
    return folder


@pytest.fixture(scope="module")
def served(out: Path) -> Served:
    return Served(out / "1")


def test_a_version_s_folder_has_what_the_server_and_the_client_want(
    out: Path, trained: Trained
) -> None:
    assert [path.name for path in out.iterdir()] == ["1"]
    assert [path.name for path in out.parent.iterdir()] == ["served"]
    assert {path.name for path in (out / "1").iterdir()} >= {"saved_model.pb", "variables"}
    assert (out / "1" / "assets" / "vocabulary.model").read_bytes() == trained.vocabulary


def test_a_batch_steps_as_the_tflite_does(served: Served, trained: Trained) -> None:
    """Lanes of their own pieces, three steps on."""
    assert trained.step_model is not None
    step = TFLiteModel(trained.step_model)
    states, own = np.zeros((4, step.state_size), np.float32), [step.start()] * 4
    for pieces in ([BOS] * 4, [10, 200, 3000, 12_000], [77, 78, 79, 80]):
        found = served.call("step", {"piece": np.array(pieces, np.int32), "state": states})
        logp, own = step.step(pieces, own)
        states = found["state"]
        assert found["logits"].shape == (4, step.vocab_size)
        assert found["logits"].dtype == states.dtype == np.float32
        assert states.shape == (4, step.state_size)
        for row, wanted in zip(found["logits"].astype(np.float64), logp, strict=True):
            got = row - np.log(np.exp(row).sum())
            assert np.sum(np.exp(got) * np.abs(got - wanted)) < 0.08
    again = served.call("serving_default", {"piece": np.array([77], np.int32), "state": states[:1]})
    assert set(again) == {"logits", "state"}


# As docs/serving.md says


class _Rest(BaseHTTPRequestHandler):
    """TensorFlow Serving's REST predict call in columns, over a loaded SavedModel."""

    served: Served

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = request["inputs"]
        found = self.served.call(
            request["signature_name"],
            {
                "piece": np.array(inputs["piece"], np.int32),
                "state": np.array(inputs["state"], np.float32),
            },
        )
        reply = {"outputs": {name: value.tolist() for name, value in found.items()}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextlib.contextmanager
def rest(model: Served) -> Iterator[str]:
    """The address of such a server."""
    handler = type("Rest", (_Rest,), {"served": model})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/models/en:predict"
        server.shutdown()
        thread.join()


def test_the_page_s_request_and_client_are_answered(
    served: Served, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    size = str(trained.cells + trained.width)  # the page has the larger model's
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.code.replace("S = 1792", f"S = {size}"), names)
    (reply,) = (block.code for block in blocks(PAGE) if block.code.startswith('{"outputs": {'))
    shown = json.loads(reply.replace("...", "0.0"))
    with rest(served) as url:
        client = names["Client"](url)
        outputs = client.ask(json.loads((tmp_path / "request.json").read_text()))
        vocabulary = Vocabulary(trained.vocabulary)
        pieces = client.next_pieces(vocabulary, "see you")
    assert list(shown["outputs"]) == sorted(outputs)
    for name, rows in shown["outputs"].items():
        columns = {"logits": trained.pieces, "state": trained.cells + trained.width}[name]
        assert np.shape(outputs[name]) == (len(rows), columns)
    step = TFLiteModel(trained.step_model or b"")
    logp, states = step.step([BOS], [step.start()])
    assert int(np.argmax(outputs["logits"][1])) == int(logp[0].argmax())
    for piece in vocabulary.encode("see you"):
        logp, states = step.step([piece], states)
    assert vocabulary.pieces[int(logp[0].argmax())] in pieces


# Mistakes


def test_a_model_that_is_not_the_tflite_leaves_nothing(trained: Trained, tmp_path: Path) -> None:
    spoilt = {**trained.weights, "projection": -trained.weights["projection"]}
    other = replace(trained, weights=spoilt)
    pieces = read_pieces([DEFAULT_TEXT], trained.vocabulary, 60)
    with pytest.raises(
        ModelError, match=r"the SavedModel is off: same best piece in .* nothing was"
    ):
        write(other, tmp_path / "served", 1, pieces)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_get_one_sentence(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    for arguments, sentence in (
        ([str(NANO), "--out", str(out)], "is there already; give another --version"),
        ([str(NANO), "--out", str(tmp_path), "--version", "0"], "--version 0 is no version"),
        ([str(NANO), "--out", str(tmp_path / "no" / "no")], "no is no folder; give --out"),
        ([str(tmp_path / "x.bundle"), "--out", str(tmp_path)], "no such file"),
        ([str(NANO), "--out", str(tmp_path), "--text", str(tmp_path / "empty.txt")], "no text"),
    ):
        assert main(["serving", *arguments]) == 1
        said = capsys.readouterr().err.strip()
        assert said.startswith("train: ")
        assert sentence in said
        assert "\n" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]
