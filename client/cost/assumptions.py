"""What a cost takes for granted, a sentence each."""

from collections.abc import Iterator, Sequence

from client.cost.deployment import Deployment, PricedApp
from client.cost.estimate import DeploymentCost, Load
from client.cost.past import PastCost, other_models
from client.cost.prices import Prices
from client.targets import App
from shared.engines import RegisteredModel
from shared.errors import Stage
from shared.settings import Settings


def of_estimate(deployment: Deployment, load: Load, costs: Sequence[DeploymentCost]) -> Iterator[str]:
    """Of what turns would cost."""
    full = (app.priced.app for cost in costs for app in cost.apps if app.containers.saturated)
    for name in dict.fromkeys(full):
        yield f"Too much for {name}: turns wait, or are refused. Raise S2S_{name.upper()}_MAX_CONTAINERS."
    yield (
        f"Load: {load.turns_per_hour:,.7g} turns an hour, in conversations of {load.turns_per_conversation}, "
        f"which begin independently of each other; {load.utterance_s:g} s of utterance, {load.reply_s:g} s "
        "of reply."
    )
    yield (
        f"A turn lasts {load.turn_s:g} s: ASR, then LLM and TTS, which overlap. On the monolith's one GPU "
        "they slow each other, which is left out."
    )
    gateway = next(app.priced for cost in costs for app in cost.apps if app.priced.app is App.GATEWAY)
    yield (
        f"Gateway: a conversation is connected for {load.conversation_s:g} s, and a container has places for "
        f"{gateway.scaling.calls_at_once}. It is counted with what it is before: the three services, whose "
        "turns it runs itself, or the monolith (S2S_GATEWAY_TARGET)."
    )
    for app in deployment.apps:
        for model in app.models:
            if load.given_s(model.stage) is None:
                yield _not_measured(model, app, load)
    starts = ", ".join(f"{cost.name} {cost.cold_starts_per_hour:,.1f}" for cost in costs)
    if load.cold_start_s:
        yield f"Cold starts an hour: {starts}. Each takes {load.cold_start_s:g} s, which are paid for."
    else:
        yield (
            f"Cold starts an hour: {starts}. Their time is left out, as it has not been measured at Modal. "
            "Give it with --cold-start-s."
        )


def of_past(costs: Sequence[PastCost], deployment: Deployment) -> Iterator[str]:
    """Of what turns did cost."""
    yield "The selection, settings and prices are those of now, and nobody else used the apps."
    yield "A turn keeps a container of each app from its begin to its end, and for the scaledown window."
    if any(cost.name == "gateway" for cost in costs):
        yield (
            "The gateway's containers also run while somebody is connected and silent, which is not in its "
            "log: its own seconds are too few."
        )
    others = sorted({name for cost in costs for name in other_models(cost.past, deployment)})
    if others:
        yield f"The turns used {', '.join(others)}, not the selected models: the seconds at work are theirs."


def of_both(deployment: Deployment, settings: Settings, prices: Prices) -> Iterator[str]:
    """Of prices and bills."""
    yield f"Prices: {prices.source} as of {prices.as_of}. Give others with --prices."
    yield (
        "A container is paid for from its start to its end. CPU and memory: what the settings reserve; use "
        "above that is billed too."
    )
    if settings.region:
        yield f"S2S_REGION={settings.region}: all of it {prices.multiplier(settings.region):g} times."
    yield "Not included: the plan's fee and its credits, storage, tax."
    for model in (model for model in deployment.models if model.spec.secrets):
        yield f"Not included: what the provider of {model.name} charges."


def _not_measured(model: RegisteredModel, app: PricedApp, load: Load) -> str:
    kept_up_with = "the utterance" if model.stage is Stage.ASR else "the reply"
    return (
        f"{model.stage.upper()}: {model.name} has not been measured on {app.gpu or 'a CPU'} at Modal. Taken: "
        f"{load.busy_s(model.stage):g} s a turn, the slowest that keeps up with {kept_up_with}. Give what "
        f"you measure with --{model.stage}-s."
    )
