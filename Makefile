# Every target does all its own set-up; a machine with python3 is enough to begin.
PYTHON ?= python3
BIN := .venv/bin
export PYTHON
# Some machines switch it off; each service that a test starts would compile all of its modules again.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help setup demo lint test test-unit test-long chaos fuzz soak soak-kills bench bench-table generate pictures clean images images-table

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## make .venv with everything
	@ops/setup.sh

demo: setup ## a moving picture with sound in your browser
	@$(BIN)/framemesh up --demo

lint: setup ## ruff, mypy --strict, import rules, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m ops.generate --check

test: lint ## everything CI runs
	@ops/test-programs.sh
	# What hangs within a library ends with its process, as no signal reaches it.
	# Once more where the machine stood still for seconds, as shared ones do; what is wrong fails twice, and is listed.
	$(BIN)/pytest -m "not bench and not alone and not long" -n 2 --dist loadfile --reruns 1 --timeout-method thread
	# Recovery times: one file after the other.
	$(BIN)/pytest -m "alone and not long" --reruns 2

test-unit: setup ## the fast tests, without processes and network
	$(BIN)/pytest tests/unit

test-long: setup ## every test, in its long form
	@FRAMEMESH_TEST_LONG=1 ops/test-programs.sh
	FRAMEMESH_TEST_LONG=1 $(BIN)/pytest -m "not bench and not alone" -n 2 --dist loadfile --timeout 1800
	$(BIN)/pytest -m "alone"

chaos: setup ## the long form of the failure tests
	@ops/test-programs.sh
	FRAMEMESH_TEST_LONG=1 $(BIN)/pytest tests/chaos --timeout 1800
	$(BIN)/python -m tests.chaos.full_load --seconds 600 --seed 7

fuzz: setup ## half an hour of inputs that nobody means; report in tests/fuzz/results
	$(BIN)/python -m tests.fuzz
	$(BIN)/python -m tests.fuzz.live

soak: setup ## half an hour of steady load: what grows, and whether it may
	$(BIN)/python -m tests.soak

soak-kills: setup ## ten minutes of recording, ten kills of its publisher
	$(BIN)/python -m tests.soak.kills

bench: setup ## measure against the peers; results in tests/bench/results
	@FRAMEMESH_BENCH=1 ops/test-programs.sh
	$(BIN)/python -m tests.bench

bench-table: setup ## the summary, its picture and its page, of the results that there are
	$(BIN)/python -m tests.bench.summary
	$(BIN)/python -m ops.generate

generate: setup ## refresh ops/ from the Structs
	$(BIN)/python -m ops.generate

pictures: setup ## take the pictures of docs/ anew: a mesh, ffmpeg, Chromium
	$(BIN)/python -m tests.pictures

images: ## build the image of each service, and of the command line
	docker compose --profile '*' build

images-table: setup ## how large they are, how soon ready, what they use; as root
	$(BIN)/python -m tests.bench.images

clean: ## remove what the other targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
