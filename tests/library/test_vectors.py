"""The library decides as docs/vectors says."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import microcluster_token_consumer as library
import vectors

CASES = vectors.cases()


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_a_pass(case: dict[str, Any]) -> None:
    facts = vectors.facts(case["facts"])
    expected: list[dict[str, Any]] = list(case["steps"])
    while steps := library._decide(facts):
        for step in steps:
            assert expected, f"one step too many: {step}"
            written = expected.pop(0)
            assert vectors.in_words(step) == {k: v for k, v in written.items() if k != "answer"}
            facts = library._after(facts, step, vectors.answer(written))
    assert expected == []
    assert {
        "in_cluster": facts.in_cluster,
        "half_in": facts.half_in,
        "own": facts.own,
        "tries": {it: dataclasses.asdict(tried) for it, tried in facts.tries.items()},
        "refusal": dataclasses.asdict(facts.refusal) if facts.refusal else None,
    } == {"half_in": False, "tries": {}, "refusal": None, **case["after"]}


def test_no_two_cases_have_one_name() -> None:
    names = [name for name, _ in CASES]
    assert len(names) == len(set(names))
    assert len(names) > 100


@pytest.mark.parametrize(
    "vector", json.loads((vectors.FOLDER / "fingerprints.json").read_text()), ids=str
)
def test_a_fingerprint(vector: dict[str, str]) -> None:
    assert library._fingerprint(vector["value"]) == vector["fingerprint"]
