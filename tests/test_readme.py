"""The README's code, as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import kbengine
from kbengine import cli
from kbengine.serve import Server

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_runs() -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    edit = names["edit"]
    assert isinstance(edit, kbengine.Edit)
    assert edit.delete == 2
    assert edit.insert.endswith(" ")


def test_the_command_lines_run() -> None:
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if "kbengine suggest" in line]
    assert commands
    for command in commands:
        if "--bundle" in command:
            continue  # made by the training commands before it: test_train.py runs those
        run = subprocess.run(
            [sys.executable, "-m", "kbengine", *command[1:]],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.count("\n") >= 3
        assert run.stderr == ""


def test_the_protocol_is_as_shown() -> None:
    (block,) = blocks("json")
    request, shown = block.strip().split("\n")
    reply = Server(kbengine.load()).answer(request.encode())
    wanted = json.loads(shown)
    assert reply.keys() == wanted.keys()
    assert reply["candidates"] == wanted["candidates"]
    assert reply["kinds"] == wanted["kinds"]
    assert reply["scores"] == pytest.approx(wanted["scores"], abs=0.02)


def test_every_verb_is_told_of() -> None:
    verbs = next(a for a in cli.parser()._actions if a.dest == "verb").choices
    assert verbs is not None
    for verb in verbs:
        assert f"kbengine {verb}" in README


def test_every_training_option_that_is_told_of_exists() -> None:
    from train.__main__ import parser

    run = next(a for a in parser()._actions if a.dest == "verb").choices
    assert run is not None
    known = {o for p in run.values() for a in p._actions for o in a.option_strings}  # type: ignore[union-attr]
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README.split("## Train")[1]))
    assert told - {"--bundle"} <= known
