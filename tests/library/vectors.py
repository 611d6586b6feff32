"""Plays the files in docs/vectors."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import microcluster_token_consumer as library

FOLDER = Path(__file__).parents[2] / "docs" / "vectors"
FACTS = {name.name for name in dataclasses.fields(library._Facts)} - {
    # These are the library's own, or only known within a pass.
    "waits_for",
    "troubled",
    "listing",
    "failed",
    "entered",
    "done",
    "said",
}


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Return all cases of consumers, each with a name of its own."""
    files = sorted(FOLDER.glob("consumer/*.json"))
    return [
        (f"{path.stem}: {case['case']}", case)
        for path in files
        for case in json.loads(path.read_text())["cases"]
        # The library hears nothing of these events.
        if case["facts"].get("event") not in ("departed", "broken")
    ]


def facts(written: dict[str, Any]) -> library._Facts:
    """Read the facts of a case."""
    assert written.keys() <= FACTS, written.keys() - FACTS
    tries = {it: library._Try(**tried) for it, tried in written.get("tries", {}).items()}
    refusal = library._Refusal(**written["refusal"]) if "refusal" in written else None
    values: dict[str, Any] = {**written, "tries": tries, "refusal": refusal}
    return library._Facts(**values)


def in_words(step: library._Step) -> dict[str, Any]:
    """Write a step as the files do, without an answer."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(step).__name__.lstrip("_")).lower()
    values = {key: value for key, value in dataclasses.asdict(step).items() if value is not None}
    return {"step": name} | json.loads(json.dumps(values))


def answer(written: dict[str, Any]) -> Any:
    """Read the answer that a step has."""
    if written["step"] == "ask-list":
        return tuple(library.Member(**member) for member in written["answer"])
    return written.get("answer")
