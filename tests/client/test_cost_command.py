"""The command `s2s cost`."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from client.cost.prices import PRICES
from client.errors import ExitCode
from client.metrics.metrics_file import ConversationEnded, ConversationStarted, MetricsFile
from tests.support.metrics_lines import turn
from tests.support.s2s_command import refused, s2s


def estimate(*arguments: str, **variables: str) -> dict[str, Any]:
    done = s2s("cost", "--json", *arguments, stdin=None, **variables)
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def amounts(*arguments: str, **variables: str) -> tuple[dict[str, Any], dict[str, Any]]:
    four, monolith, _ = estimate(*arguments, **variables)["deployments"]
    return four, monolith


def with_gateway(*arguments: str, **variables: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The deployment, and its gateway."""
    deployment = estimate(*arguments, **variables)["deployments"][-1]
    return deployment, deployment["apps"][-1]


def assumptions(*arguments: str, **variables: str) -> str:
    return "\n".join(estimate(*arguments, **variables)["assumptions"])


def test_an_hour_of_a_deployment_is_the_sum_of_its_apps_and_shared_by_its_turns() -> None:
    lengths = ("--utterance-s", "3", "--reply-s", "7", "--asr-s", "1", "--llm-s", "2", "--tts-s", "3")
    four, monolith = amounts("--turns-per-hour", "30", *lengths)
    assert [app["app"] for app in four["apps"]] == ["asr", "llm", "tts", "orchestrator"]
    assert [app["app"] for app in monolith["apps"]] == ["monolith"]
    for one in (four, monolith):
        assert one["per_hour"] == pytest.approx(sum(app["per_hour"] for app in one["apps"]))
        assert one["per_turn"] == pytest.approx(one["per_hour"] / 30)
        assert one["per_minute"] == pytest.approx(one["per_turn"] * 6)  # turns of 10 s
        assert 0 < one["idle_per_hour"] < one["per_hour"]
        assert one["at_rest_per_hour"] == 0
    assert monolith["per_hour"] < four["per_hour"]


def test_a_container_is_priced_as_the_settings_have_it() -> None:
    prices = estimate()["prices"]
    four, _ = amounts(S2S_TTS_GPU="L4:2", S2S_TTS_CPU="4", S2S_TTS_MEMORY_MB="2048", S2S_REGION="eu")
    (tts,) = (app for app in four["apps"] if app["app"] == "tts")
    second = 2 * prices["gpu_s"]["L4"] + 4 * prices["cpu_core_s"] + 2 * prices["memory_gib_s"]
    assert tts["container_hour"] == pytest.approx(3600 * second * prices["region_broad"])


def test_containers_scale_as_the_settings_say() -> None:
    four, _ = amounts(S2S_LLM_MIN_CONTAINERS="1", S2S_LLM_CONCURRENT_INPUTS="3")
    rates = {app["app"]: app for app in four["apps"]}
    assert rates["llm"]["scaling"]["calls_at_once"] == 3
    assert rates["llm"]["alive"] == pytest.approx(1, abs=1e-3)
    assert four["at_rest_per_hour"] == pytest.approx(rates["llm"]["container_hour"])
    shorter, _ = amounts("--turns-per-hour", "6", S2S_TTS_SCALEDOWN_WINDOW_S="30")
    assert shorter["per_hour"] < amounts("--turns-per-hour", "6")[0]["per_hour"]


def test_the_gateway_costs_a_cpu_while_conversations_are_connected_besides_what_it_is_before() -> None:
    load = ("--turns-per-hour", "6", "--turns", "6", "--utterance-s", "4", "--reply-s", "6")
    quick = ("--asr-s", "0.1", "--llm-s", "0.2", "--tts-s", "0.3")
    deployment, gateway = with_gateway(*load, *quick)
    assert [app["app"] for app in deployment["apps"]] == ["asr", "llm", "tts", "gateway"]
    assert (gateway["gpu"], gateway["models"], gateway["scaling"]["calls_at_once"]) == (None, [], 50)
    assert gateway["busy_s"] == 60  # six turns of 10 s
    assert gateway["alive"] == pytest.approx(1 - math.exp(-(60 + 300) / 3600))
    before, _ = with_gateway(*load, *quick, S2S_GATEWAY_TARGET="monolith")
    assert [app["app"] for app in before["apps"]] == ["monolith", "gateway"]
    assert "Gateway: a conversation is connected for 60 s" in assumptions(*load, *quick)


def test_the_gateways_containers_are_as_its_settings_say() -> None:
    chosen = {"MIN_CONTAINERS": "2", "CONCURRENT_INPUTS": "7", "CPU": "2", "MEMORY_MB": "1024"}
    variables = {f"S2S_GATEWAY_{name}": value for name, value in chosen.items()}
    deployment, gateway = with_gateway(**variables)
    assert (gateway["scaling"]["calls_at_once"], gateway["cpu"], gateway["memory_gib"]) == (7, 2, 1)
    assert gateway["alive"] >= 2
    assert deployment["at_rest_per_hour"] == pytest.approx(2 * gateway["container_hour"])
    busy, full = with_gateway("--turns-per-hour", "100000", S2S_GATEWAY_MAX_CONTAINERS="1")
    assert (busy["per_turn"], full["saturated"]) == (None, True)


def test_what_has_not_been_measured_is_said_until_it_is_given() -> None:
    assert "TTS: chatterbox has not been measured on A10G at Modal. Taken: 6 s a turn" in assumptions()
    given = assumptions("--asr-s", "0.2", "--llm-s", "1", "--tts-s", "2", "--cold-start-s", "20")
    assert "measured" not in given
    assert "A turn lasts 2.2 s" in given


def test_each_thing_that_is_left_out_is_said() -> None:
    said = assumptions(LLM_MODEL="gpt4omini", S2S_REGION="us-east")
    assert "https://modal.com/pricing as of 20" in said
    assert "what the provider of gpt4omini charges" in said
    assert "S2S_REGION=us-east: all of it 1.75 times" in said


def test_more_turns_than_the_containers_can_work_off_have_no_price_each() -> None:
    cost = estimate("--turns-per-hour", "5000", S2S_TTS_MAX_CONTAINERS="2")
    four, monolith, _ = cost["deployments"]
    assert (four["per_turn"], four["per_minute"]) == (None, None)
    assert four["per_hour"] > 0
    assert monolith["per_turn"] > 0
    (said,) = (one for one in cost["assumptions"] if one.startswith("Too much for"))
    assert "S2S_TTS_MAX_CONTAINERS" in said


def test_engines_without_a_gpu_cost_a_cpu() -> None:
    four, monolith = amounts(ASR_MODEL="pocketsphinx", LLM_MODEL="rules", TTS_MODEL="espeak")
    assert {app["gpu"] for app in (*four["apps"], *monolith["apps"])} == {None}
    assert four["per_hour"] < 0.3


def test_prices_of_a_file_are_used(tmp_path: Path) -> None:
    dearer = tmp_path / "prices.toml"
    dearer.write_text(PRICES.read_text().replace("A10 = 0.000306", "A10 = 0.00306"))
    assert amounts("--prices", str(dearer))[1]["per_hour"] > 8 * amounts()[1]["per_hour"]


def test_a_gpu_without_a_price_and_prices_that_are_not_there_are_refused() -> None:
    refused(s2s("cost", S2S_TTS_GPU="TPU"), ExitCode.MISCONFIGURED, "There are: T4, L4, A10")
    refused(s2s("cost", "--prices", "none.toml"), ExitCode.MISCONFIGURED, "none.toml cannot be read")


def test_options_that_cannot_be_are_refused() -> None:
    assert s2s("cost", "--metrics", "m.jsonl", "--last-hour").exit_code == ExitCode.USAGE
    assert s2s("cost", "--explain", "--json").exit_code == ExitCode.USAGE
    assert s2s("cost", "--turns-per-hour", "0").exit_code == ExitCode.USAGE
    assert s2s("cost", "--reply-s", "nan").exit_code == ExitCode.USAGE


def test_any_load_has_a_cost() -> None:
    for load in (("1000000", "600"), ("0.01", "0.1")):
        shown = s2s("cost", "--turns-per-hour", load[0], "--reply-s", load[1], COLUMNS="80")
        assert shown.exit_code == 0, shown.output
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_it_is_readable_on_80_columns_and_plain_where_it_is_piped() -> None:
    shown = s2s("cost", COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert "\x1b" not in shown
    four, _ = amounts()
    assert f"four apps  ${four['per_turn']:.4f}" in shown


def test_the_formulas_are_shown_with_the_figures_put_in() -> None:
    shown = s2s("cost", "--explain", S2S_TTS_SCALEDOWN_WINDOW_S="77").stdout
    assert "Erlang's loss formula" in shown
    assert "tts: cores 1, GiB 0.125, GPU A10G: $0.0003194" in shown
    assert "tts: k = 1, busy_s = 6, held_s = 9, window_s = 77:" in shown
    assert "gateway: k = 50, busy_s = 54, held_s = 54, window_s = 300:" in shown


def test_turns_of_a_metrics_file_did_cost_their_containers_and_windows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as file:
        file.write(ConversationStarted(session_id="one", at=datetime(2026, 11, 27, tzinfo=UTC)))
        file.write(turn(began_us=0, ended_us=10_000_000, models={"asr": "Another"}))
        file.write(turn(began_us=40_000_000, ended_us=50_000_000))
        file.write(ConversationEnded(session_id="one", duration_us=60_000_000))
    cost = estimate("--metrics", str(path))
    four, monolith = cost["deployments"]
    assert {app["alive_s"] for app in four["apps"]} == {350}
    assert monolith["dollars"] == pytest.approx(350 / 3600 * monolith["apps"][0]["container_hour"])
    assert monolith["per_turn"] == monolith["dollars"] / 2
    assert monolith["per_minute"] == monolith["dollars"]
    assert "The turns used Another, not the selected models" in "\n".join(cost["assumptions"])
    shown = s2s("cost", "--metrics", path, COLUMNS="80").stdout
    assert "350 s" in shown
    assert "…" not in shown
    path.write_text("else")
    refused(s2s("cost", "--metrics", path), ExitCode.BAD_INPUT, "damaged")
