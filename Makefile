# Everything is set up in .venv at the project's root, but for weights, which are kept in the user's cache
# (~/.cache/speech-to-speech); nothing else on the machine is touched.

# The first Python that is new enough; name another with make PYTHON=...
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := locks/development.txt
PACKAGES := shared services orchestrator conversation local_cloud client gateway bench tests examples

# Of a variable like LOCAL or FOLLOW; LOCAL=0 is a no.
yes = $(filter-out 0 n no off false,$(1))

# With LOCAL=1 a target works on the local cloud (make local-cloud), or not at all.
S2S = $(BIN)/s2s$(if $(call yes,$(LOCAL)), --local-cloud)

LOGS = $(S2S) logs$(if $(call yes,$(FOLLOW)), --follow)

# Tests of a file share what it deploys, so they run on one worker.
PYTEST = $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-devices test-engines test-clients check format bench bench-gateway bench-quality simulate examples \
	lock clean fetch-weights deploy-all deploy-asr deploy-llm deploy-tts deploy-orchestrator deploy-monolith deploy-gateway \
	smoke status warm logs-asr logs-llm logs-tts logs-orchestrator logs-monolith logs-gateway stop-all chaos local-cloud

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/ready ## Make .venv with everything that demo and test need

demo: setup ## Answer a spoken question aloud with engines in this process; writes output.mp3
	@$(BIN)/s2s turn examples/what-is-two-plus-two.mp3 --output output.mp3 --play

test: setup check ## Check the code, then run all tests
	@$(PYTEST)

test-fast: setup ## Run the tests that deploy nothing, start no command and run no model, while you work
	@$(PYTEST) -m 'not devices and not slow' --ignore tests/deployed --ignore tests/local_cloud \
		--ignore tests/client/test_cli.py --ignore-glob 'tests/client/test_*_command.py'

test-devices: setup ## Test talking over a sound server and in a browser (needs pulseaudio, libasound2-plugins, chromium)
	@$(BIN)/pytest -m devices

test-engines: setup ## Test the GPU engines' libraries on tiny models (gigabytes, cached; ENGINES="vllm turn")
	@$(BIN)/python -m tests.engines $(ENGINES)

test-clients: setup ## Test the gateway with clients of OpenAI Realtime from their packages (needs nodejs, npm)
	@$(BIN)/pytest tests/gateway/clients

fetch-weights: setup ## Download the selected models' weights into the Volume on Modal; deploying does it too (LOCAL=1)
	@$(S2S) fetch-weights --target modal

deploy-all: setup ## Deploy the four apps to Modal (LOCAL=1: to the local cloud)
	@$(S2S) deploy

deploy-asr: setup ## Deploy the ASR service (LOCAL=1)
	@$(S2S) deploy asr

deploy-llm: setup ## Deploy the LLM service (LOCAL=1)
	@$(S2S) deploy llm

deploy-tts: setup ## Deploy the TTS service (LOCAL=1)
	@$(S2S) deploy tts

deploy-orchestrator: setup ## Deploy the orchestrator (LOCAL=1)
	@$(S2S) deploy orchestrator

deploy-monolith: setup ## Deploy one app with all engines on one GPU instead of the four, for small loads (LOCAL=1)
	@$(S2S) deploy monolith

deploy-gateway: setup ## Deploy the gateway for browsers and OpenAI clients, before the four (LOCAL=1)
	@$(S2S) deploy gateway

smoke: setup ## Check that each deployed app answers real input (APPS=monolith; LOCAL=1)
	@$(S2S) smoke $(APPS)

chaos: setup ## Run turns amid crashes, preemptions, cancels and redeployments (TURNS=1000 SEED=7)
	@$(BIN)/python -m tests.deployed.chaos --turns $(or $(TURNS),100) $(if $(SEED),--seed $(SEED))

status: setup ## Show what is deployed and running, and how the last hour's turns went (LOCAL=1)
	@$(S2S) status

warm: setup ## Start a container of each app (APPS=monolith; LOCAL=1)
	@$(S2S) warm $(APPS)

logs-asr: setup ## Show the last hour's log of the ASR service (FOLLOW=1 LOCAL=1)
	@$(LOGS) asr

logs-llm: setup ## Show the last hour's log of the LLM service (FOLLOW=1 LOCAL=1)
	@$(LOGS) llm

logs-tts: setup ## Show the last hour's log of the TTS service (FOLLOW=1 LOCAL=1)
	@$(LOGS) tts

logs-orchestrator: setup ## Show the last hour's log of the orchestrator (FOLLOW=1 LOCAL=1)
	@$(LOGS) orchestrator

logs-monolith: setup ## Show the last hour's log of the monolith (FOLLOW=1 LOCAL=1)
	@$(LOGS) monolith

logs-gateway: setup ## Show the last hour's log of the gateway (FOLLOW=1 LOCAL=1)
	@$(LOGS) gateway

stop-all: setup ## Stop all deployed apps (LOCAL=1)
	@$(S2S) stop --yes

local-cloud: setup ## Run Modal's part on this machine until Ctrl-C; use it from another terminal with LOCAL=1
	@$(BIN)/s2s local-cloud

check: setup ## Run ruff format, ruff check and mypy --strict
	@$(BIN)/ruff format --check --quiet $(PACKAGES)
	@$(BIN)/ruff check --quiet $(PACKAGES)
	@$(BIN)/mypy --num-workers auto

format: setup ## Format the code and apply ruff's fixes
	@$(BIN)/ruff check --fix --quiet $(PACKAGES)
	@$(BIN)/ruff format $(PACKAGES)

bench: setup ## Measure codec, turns, orchestrator and conversation (twelve minutes; JSON=file PLOTS=folder)
	@$(BIN)/python -m bench $(if $(JSON),--json $(JSON)) $(if $(PLOTS),--plots $(PLOTS))

bench-gateway: setup ## Measure what the gateway adds at 1 to 100 sessions (five minutes; SOAK=10 minutes of 20; JSON=file)
	@$(BIN)/python -m bench.gateway $(if $(SOAK),--soak-min $(SOAK)) $(if $(JSON),--json $(JSON))

simulate: setup ## Simulate days on Modal (two minutes; TURNS=10,1000 P95=2.5 DAY=flat JSON=file PLOTS=folder; CHECK=1)
ifneq ($(call yes,$(CHECK)),)
	@$(BIN)/python -m bench.scale.check
else
	@$(BIN)/python -m bench.scale $(if $(TURNS),--turns $(TURNS)) $(if $(P95),--p95 $(P95)) \
		$(if $(DAY),--day $(DAY)) $(if $(JSON),--json $(JSON)) $(if $(PLOTS),--plots $(PLOTS)) $(OPTIONS)
endif

bench-quality: setup ## Measure word error rates, voices and ends of turns (RECORDINGS=folder; JSON=file also writes it)
	@$(BIN)/python -m bench.quality $(if $(RECORDINGS),--recordings $(RECORDINGS)) $(if $(JSON),--json $(JSON))

examples: setup ## Regenerate the spoken questions in examples/ (needs libflite1)
	@$(BIN)/python -m examples.make_examples

lock: setup ## Upgrade and pin every package in locks/
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade \
		--extra embedded --extra neural --extra local-cloud --extra talk --extra gateway --extra otel --extra report --extra dev --output-file $(LOCK)
	PATH="$(BIN):$$PATH" $(BIN)/python -m services.on_modal.image_locks

clean: ## Remove .venv and caches, but for weights and test-engines' (~/.cache/speech-to-speech)
	rm -rf $(VENV) .local-cloud .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PACKAGES) -name __pycache__ -type d -exec rm -rf {} +

# The stamp is written last, so that an interrupted set-up is done again.
$(VENV)/ready: pyproject.toml $(LOCK)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: sudo apt install python3.11 python3.11-venv"; exit 1; }
	@echo "Setting up $(VENV) (about a minute, the first time)"
	@test -x $(BIN)/pip || $(PYTHON) -m ensurepip --version >/dev/null 2>&1 || $(INSTALL_VENV)
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement $(LOCK)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -m services.weights
	@touch $@

# Debian and Ubuntu keep venv in a package of its own. As root (a container, say) it is installed.
VENV_PACKAGE = $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
INSTALL_VENV = { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq $(VENV_PACKAGE); } \
	|| { echo "This Python cannot make virtual environments. Run: sudo apt install $(VENV_PACKAGE)"; exit 1; }
