"""Days on Modal, simulated: what a turn takes, what a day costs, and what is recommended."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import simpy
import typer
from rich.console import Console
from typer.testing import CliRunner

from bench.scale.__main__ import bench
from bench.scale.apps import FourApps, MonolithApp, Times
from bench.scale.assumptions import assumptions, with_measured
from bench.scale.day import DAY_S, FLAT, Day, arrivals, day_of, parts_of_day
from bench.scale.engines import Batches
from bench.scale.plots import plots
from bench.scale.recommendation import Recommendation, meets, recommend
from bench.scale.runner import Runner
from bench.scale.simulation import Case, Outcome, raised, simulate
from bench.scale.tables import (
    containers_table,
    outcome_as_json,
    outcomes_table,
    recommendation_as_json,
    recommendations,
)
from bench.scale.turn import Played, Turn, Workload
from client.cost.deployment import Deployment, priced_deployments
from client.cost.estimate import Load
from client.cost.prices import read_prices
from client.targets import App
from shared.errors import Stage
from shared.settings import Settings

TIMES = Times(call_s=0.04, engine_start_s=25.0, boot_s=2.0)
NO_SETTINGS = Settings(_env_file=None)
FOUR_APPS, MONOLITH = priced_deployments(NO_SETTINGS, read_prices())
QUICK = Load(100, 6, 3.0, 6.0, asr_s=0.3, llm_s=2.0, tts_s=2.0)
FEW_TURNS = 800


def case(deployment: Deployment = FOUR_APPS, load: Load = QUICK, **scaling: int) -> Case:
    apps = tuple(replace(app, scaling=replace(app.scaling, **scaling)) for app in deployment.apps)
    return Case(replace(deployment, apps=apps), load, TIMES, Day(FLAT), NO_SETTINGS)


# A turn

WORK = Workload(reply_s=7.5, asr_s=0.3, llm_s=2.5, tts_s=3.0)
"""A first clause of 1.5 s and two sentences of 3 s, each written in a third of its time."""


def turn_over(deployment: Deployment, *, warm: int) -> Played:
    env, played = simpy.Environment(), Played()
    apps = (MonolithApp if deployment is MONOLITH else FourApps)(
        env, deployment, NO_SETTINGS, TIMES, dict.fromkeys(App, warm)
    )
    env.run(1)
    env.process(Turn(env, apps, WORK, played, growth=3.0).run())
    env.run()
    return played


def test_a_warm_turn_takes_its_calls_asr_the_first_clause_and_its_speech() -> None:
    played = turn_over(FOUR_APPS, warm=1)
    assert played.first_audio_s == pytest.approx(4 * 0.04 + 0.3 + 2.5 / 5 + 3.0 / 5)
    assert not played.cold


def test_the_monolith_has_one_call_a_turn() -> None:
    played = turn_over(MONOLITH, warm=1)
    assert played.first_audio_s == pytest.approx(0.04 + 0.3 + 2.5 / 5 + 3.0 / 5)


def test_cold_services_start_together_once_the_orchestrator_has() -> None:
    played = turn_over(FOUR_APPS, warm=0)
    assert played.cold
    assert played.first_audio_s == pytest.approx(2 + 25 + 4 * 0.04 + 0.3 + 2.5 / 5 + 3.0 / 5)
    assert played.waited_s == pytest.approx(
        {Stage.ORCHESTRATOR: 2, Stage.ASR: 25, Stage.LLM: 0, Stage.TTS: 0}
    )


def test_calls_that_wait_for_an_engine_of_batches_are_a_batch() -> None:
    env = simpy.Environment()
    batches, ends_s = Batches(env, largest=2), []
    for service_s in (3.0, 1.0, 2.0, 1.0):
        event = batches.work(service_s)
        assert event.callbacks is not None
        event.callbacks.append(lambda _: ends_s.append(env.now))
    env.run()
    assert ends_s == [3, 5, 5, 6]


# A day


def test_turns_follow_the_profile_of_the_day() -> None:
    day = day_of(",".join(["0"] * 12 + ["2"] * 12))
    times_s = list(arrivals(np.random.default_rng(1), day, 0.05, 0, DAY_S))
    assert len(times_s) == pytest.approx(0.05 * DAY_S, rel=0.05)
    assert sum(at_s < 11 * 3600 + 1800 for at_s in times_s) < 0.01 * len(times_s) + 60
    assert day.peak == 2


@pytest.mark.parametrize(
    "day", [Day(), Day(FLAT), Day((0.0,) * 23 + (1.0,))], ids=["wave", "flat", "one hour"]
)
@pytest.mark.parametrize("turns_per_hour", [10, 1_000, 30_000, 1_000_000])
def test_what_is_simulated_stands_for_the_whole_day(turns_per_hour: float, day: Day) -> None:
    parts = parts_of_day(day, turns_per_hour, 400, 20_000)
    middles_s = [part.end_s - part.measured_s / 2 for part in parts]
    if parts[0].measured_s < DAY_S:
        assert np.mean([day.factor(at_s) for at_s in middles_s]) == pytest.approx(1, abs=0.02)
    measured = turns_per_hour / 3600 * sum(part.measured_s for part in parts)
    assert measured > 8_000


@pytest.mark.parametrize("text", ["", "round", "1,2", ",".join("0" * 24), ",".join(["-1", *["1"] * 23])])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"24 numbers|could not convert"):
        day_of(text)


# A deployment under a load


def test_the_same_seed_plays_the_same_day_and_another_another() -> None:
    first, again, other = (
        simulate(replace(case(), seed=seed), FEW_TURNS).voice_to_voice_s.tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_parts_that_are_played_side_by_side_come_to_the_same() -> None:
    cases, seen = [case(), case(MONOLITH)], []
    with ThreadPoolExecutor(2) as executor:
        runner = Runner(executor, lambda done, total: seen.append(done / total))
        outcomes = runner.simulate(cases, FEW_TURNS)
    alone = [simulate(one, FEW_TURNS) for one in cases]
    assert [one.dollars_per_hour for one in outcomes] == [one.dollars_per_hour for one in alone]
    assert seen[-1] == pytest.approx(1)
    assert seen == sorted(seen)


def test_a_container_more_of_each_app_spares_cold_starts_and_costs() -> None:
    outcomes = [simulate(case(min_containers=kept), FEW_TURNS) for kept in (0, 1, 2)]
    shares = [outcome.cold_share for outcome in outcomes]
    assert shares[0] > shares[1] >= shares[2]
    assert outcomes[0].p95_s >= outcomes[1].p95_s >= outcomes[2].p95_s
    dollars = [outcome.dollars_per_hour for outcome in outcomes]
    assert dollars[0] < dollars[1] < dollars[2]


def test_where_containers_are_too_few_turns_wait_and_fail() -> None:
    swamped = simulate(case(load=replace(QUICK, turns_per_hour=20_000), max_containers=1), 500)
    assert swamped.failed_share > 0.5
    assert all(app.most == 1 for app in swamped.apps)


def test_gpu_hours_and_dollars_are_those_of_the_containers() -> None:
    outcome = simulate(case(min_containers=1, max_containers=1), FEW_TURNS)
    assert outcome.gpu_hours_per_hour == pytest.approx(3)
    price_s = sum(app.container_s for app in FOUR_APPS.apps)
    assert outcome.dollars_per_hour == pytest.approx(price_s * 3600)
    assert outcome.dollars_per_turn == pytest.approx(price_s * 36)


def test_engines_that_were_measured_take_what_they_took_and_others_what_the_cost_takes() -> None:
    embedded, _ = priced_deployments(Settings(_env_file=None, modal_defaults="embedded"), read_prices())
    bare = Load(100, 6, 3.0, 6.0)
    assert with_measured(bare, embedded).asr_s == 0.182
    assert with_measured(bare, embedded).tts_s == pytest.approx(0.06)
    assert with_measured(bare, FOUR_APPS) == bare
    told = list(assumptions(bare, FOUR_APPS, TIMES, Day()))
    assert sum("has not been measured" in one for one in told) == 3


# What is shown


def test_an_app_whose_maximum_the_load_exceeds_is_pointed_out() -> None:
    as_set = case(max_containers=1)
    outcome = simulate(raised(as_set), FEW_TURNS)
    assert {app.app for app in outcome.apps if app.most > 1} == {App.TTS}
    console = Console(width=200, file=StringIO(), record=True)
    console.print(containers_table([as_set], [outcome]), outcomes_table([outcome]))
    shown = console.export_text()
    assert [line.split()[3] for line in shown.splitlines() if "too few" in line] == ["tts"]


def test_each_figure_has_a_plot_with_a_point_for_each_load_and_deployment() -> None:
    outcomes = [simulate(case(which), 200) for which in (FOUR_APPS, MONOLITH)]
    drawn = {plot.name: plot for plot in plots(outcomes)}
    assert drawn.keys() == {"scale-waits", "scale-cold-starts", "scale-gpu-hours", "scale-dollars"}
    dollars = [f"{outcome.dollars_per_turn:.3g}" for outcome in outcomes]
    assert [row[-1] for row in drawn["scale-dollars"].rows] == dollars
    assert json.loads(json.dumps(outcome_as_json(outcomes[0])))["turns"] == outcomes[0].turns


@pytest.mark.parametrize(
    ("option", "value"), [("--turns", "many"), ("--turns", "0"), ("--turns", "2000000"), ("--day", "1,2")]
)
def test_what_cannot_be_simulated_is_refused(option: str, value: str) -> None:
    command = typer.Typer()
    command.command()(bench)
    assert CliRunner().invoke(command, [option, value]).exit_code == 2


# Recommendations


def found(goal_s: float, load: Load) -> tuple[Case, Recommendation]:
    asked = case(load=load)
    return asked, recommend(asked, goal_s, lambda cases, _: [simulate(one, FEW_TURNS) for one in cases])


def lines(asked: Case, recommendation: Recommendation) -> str:
    return "\n".join(recommendations(asked, recommendation))


def test_a_goal_that_cold_starts_miss_gets_the_containers_it_needs_and_no_more() -> None:
    asked, recommendation = found(3.0, replace(QUICK, turns_per_hour=10))
    assert recommendation.case is not None
    assert recommendation.outcome is not None
    assert not meets(simulate(asked, FEW_TURNS), 3.0)
    assert meets(recommendation.outcome, 3.0)
    kept = {app.app: app.scaling.min_containers for app in recommendation.case.deployment.apps}
    assert kept[App.ASR] == kept[App.LLM] == kept[App.TTS] == 1
    assert "S2S_ASR_MIN_CONTAINERS=1" in lines(asked, recommendation)
    assert recommendation_as_json(asked, recommendation)["settings"]


def test_a_goal_that_the_stages_alone_miss_is_said_to_be_out_of_reach() -> None:
    asked, recommendation = found(1.2, QUICK)
    assert recommendation.case is None
    assert recommendation.fastest_s > 1.2
    assert "no setting of containers meets it" in lines(asked, recommendation)


def test_a_goal_that_is_met_anyway_needs_no_containers_kept() -> None:
    _, recommendation = found(60.0, QUICK)
    assert recommendation.case is not None
    assert all(app.scaling.min_containers == 0 for app in recommendation.case.deployment.apps)


def test_voice_to_voice_is_at_least_the_silence_that_ends_a_turn() -> None:
    instant = replace(QUICK, asr_s=0.01, llm_s=0.01, tts_s=0.01)
    outcome: Outcome = simulate(case(load=instant, min_containers=1), FEW_TURNS)
    assert outcome.p50_s == NO_SETTINGS.end_of_turn_silence_s
