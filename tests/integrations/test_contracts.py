"""Adapter ≡ recorded contract ≡ library: each link tested where both ends are there."""

import sys

import pytest

from heed.errors import ExtraMissingError
from integrations.recorded import NAMES, found, installed, member, parameters, recorded
from integrations.standins import MODULES

OVERRIDES = {
    "langchain": ("ScreenToolOutputs.wrap_tool_call", "ScreenToolOutputs.awrap_tool_call"),
    "agentdojo": ("ScreenToolOutputs.query",),
    "litellm": ("HeedGuardrail.apply_guardrail",),
    "llm_guard": ("HeedPrompt.scan", "HeedOutput.scan"),
}


def test_every_adapter_has_a_contract():
    assert NAMES == ["agentdojo", "langchain", "litellm", "llm_guard", "nemo"]
    assert all(recorded(name)["version"] for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_library_still_keeps_its_contract(name):
    if installed(name) is None:
        old = recorded(name)
        pytest.skip(f"{old['package']} is not installed: its contract stays as recorded of {old['version']}")
    now = found(name)
    assert {**now, "version": ""} == {**recorded(name), "version": ""}


@pytest.mark.parametrize("name", OVERRIDES)
def test_the_adapter_overrides_with_the_recorded_parameters(adapter, name):
    module = adapter(name) if name != "llm_guard" else __import__("heed.integrations.llm_guard", fromlist=["_"])
    for mine, theirs in zip(OVERRIDES[name], recorded(name)["overrides"].values(), strict=True):
        assert parameters(member(f"_:{mine}", lambda _: module)) == theirs


@pytest.mark.parametrize("name", MODULES)
def test_the_stand_in_offers_nothing_that_the_library_does_not(name):
    standin = {module.__name__: module for module in MODULES[name]}
    old, now = recorded(name), found(name, module=standin.__getitem__) if name != "langchain" else None
    if now is None:  # messages are pydantic models there and dataclasses here
        assert parameters(standin["langchain_core.messages"].convert_to_messages) == ["messages"]
        kinds = {path: member(path, standin.__getitem__) for path in old["fields"]}
        for path, kind in kinds.items():
            assert {*kind.__dataclass_fields__} <= {*old["fields"][path]}
        return
    for part in ("overrides", "calls", "fields"):
        for path, names in now[part].items():
            assert {*names} <= {*old[part][path]}, path


@pytest.mark.parametrize("name", MODULES)
def test_without_the_library_the_extra_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, recorded(name)["package"], None)
    for module in [*sys.modules]:
        if module.partition(".")[0] == recorded(name)["package"] or module == f"heed.integrations.{name}":
            monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"heed.integrations.{name}", raising=False)
    with pytest.raises(ExtraMissingError, match=rf"pip install 'heed\[{name}\]'"):
        __import__(f"heed.integrations.{name}")
