"""Where the default LLM answers, a user is told so, and how to get a language model."""

import re

import pytest

from client.default_llm import default_llm_remark
from client.targets import Target
from services.selection import select
from shared.settings import Settings, settings


def test_the_remark_is_made_where_nobody_has_chosen_the_llm_of_this_process() -> None:
    assert select(Settings()).llm.name == "rules"
    assert "table of rules" in default_llm_remark(Target.LOCAL, Settings())
    assert default_llm_remark(Target.LOCAL, Settings(llm_model="rules")) == ""
    assert default_llm_remark(Target.MODAL, Settings()) == ""


def test_what_it_says_to_set_selects_a_language_model_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, value in re.findall(r"(\w+)=(\S+)", default_llm_remark(Target.LOCAL, Settings())):
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    chosen = select(settings()).llm
    assert chosen.name == "gpt4omini"
    assert chosen.engine().model_name == "llama3.2"
    assert chosen.engine.missing() is None
    assert default_llm_remark(Target.LOCAL, settings()) == ""
    settings.cache_clear()
