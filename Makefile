# SPDX-License-Identifier: Apache-2.0
# PYTHON chooses the interpreter (>= 3.11); ARGS goes to pytest: make test-root ARGS="-k limits".
# KERNEL, of the machines: 5.10, 6.1, 6.12, newest, or the path of an image.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
KERNEL ?= 6.1
ROLES ?= root user selinux systemd session
KIND ?= bare
export PYTHON VENV

BIN := $(VENV)/bin
SETUP := scripts/setup.sh
LANES := $(BIN)/python scripts/lanes.py
C_OWN = $(wildcard src/*/*.c src/*/*.h tests/tools/*.c tests/tools/*.h tests/_fuzz/*.c tests/_fuzz/*.h benchmarks/*.c)
# The fuzz targets are for clang, which builds them with warnings as errors (tests/_fuzz/build.py).
C_UNITS = $(filter-out tests/_fuzz/%,$(filter %.c,$(C_OWN)))
C_WARNINGS := -std=gnu11 -O2 -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wundef -Wpointer-arith \
	-Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Werror

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

.PHONY: build
build: ## install what building needs and build in place
	@$(SETUP)

.PHONY: demo
demo: build ## run a real Python program in a sandbox: result, verdict, enforcement
	@$(BIN)/python examples/demo.py

.PHONY: demo-images
demo-images: build ## busybox and two releases of Debian, made by mmdebstrap, on this host's kernel
	@$(SETUP) vm
	@roots=$$(PYTHONPATH=scripts $(BIN)/python -m portability.archives busybox bookworm trixie) && \
		$(BIN)/python examples/distributions.py $$roots

.PHONY: test
test: ## the suite in all lanes; the last line adds them up
	@$(SETUP) test clients analysis vm
	@$(LANES) --kernel $(KERNEL) $(if $(ARGS),-- $(ARGS))

# One lane each; their names are those of scripts/lanes.py.
LANE_TARGETS := test-root test-user test-subids test-userns test-fork test-nosys test-faults
.PHONY: $(LANE_TARGETS)
test-root: ## lane: root, ids and cgroups at will
test-user: ## lane: an ordinary user with one id
test-subids: ## lane: an ordinary user with newuidmap and a range of ids
test-userns: ## lane: root of a user namespace (unshare -r)
test-fork: ## lane: cloning without shared memory
test-nosys: ## lane: no clone3, openat2 and new mount API
test-faults: ## lane: each system call of the core fails (PYCONTAIN_FAULTS_WHOLE=1: with each errno)
$(LANE_TARGETS): test-%:
	@$(SETUP) test $(if $(filter root,$*),clients)
	@$(LANES) $* $(if $(ARGS),-- $(ARGS))

.PHONY: analyze
analyze: ## lane: gcc -fanalyzer, clang-tidy and cppcheck find nothing in the C sources
	@$(SETUP) test analysis
	@$(LANES) analyze $(if $(ARGS),-- $(ARGS))

.PHONY: fuzz
fuzz: ## PID 1's program, parsers, the seccomp compiler: ten minutes, or FUZZ_SECONDS; build/fuzz.json
	@$(SETUP) test analysis
	@PYTHONPATH=tests $(BIN)/python scripts/fuzz.py $(ARGS)

.PHONY: test-vm
test-vm: ## lanes: cgroup v2 alone, in machines; KERNEL=6.12 ROLES="root user selinux systemd session"
	@$(SETUP) test vm
	@$(LANES) --kernel $(KERNEL) $(ROLES:%=vm-%) $(if $(ARGS),-- $(ARGS))

.PHONY: vm-shell
vm-shell: ## a shell in such a machine; KERNEL=6.12 KIND=systemd
	@$(SETUP) test vm
	@$(BIN)/python scripts/vm.py --kernel $(KERNEL) --kind $(KIND)

.PHONY: test-asan
test-asan: ## tests/core and tests/sandbox with AddressSanitizer and UBSan in the extension
	@$(SETUP) test
	@VENV=$(VENV) scripts/test_asan.sh $(ARGS)

# `make -k lint` goes on after a complaint.
LINT_TARGETS := lint-ruff lint-format lint-types lint-c lint-c-format lint-spelling lint-shell
.PHONY: lint $(LINT_TARGETS) lint-tools
lint: $(LINT_TARGETS) ## ruff, mypy, clang-format, gcc's warnings, codespell, shellcheck
$(LINT_TARGETS): lint-tools
lint-tools:
	@$(SETUP) test lint
lint-ruff:
	$(BIN)/ruff check
lint-format:
	$(BIN)/ruff format --check
lint-types:
	$(BIN)/mypy
lint-c: # not -fsyntax-only, with which gcc does no flow analysis
	@for unit in $(C_UNITS); do $(CC) $(C_WARNINGS) -Isrc/_nsbind -o /dev/null -c $$unit || exit 1; done
lint-c-format:
	$(BIN)/clang-format --dry-run --Werror $(C_OWN)
lint-spelling:
	$(BIN)/codespell
lint-shell:
	shellcheck scripts/*.sh scripts/machine/*.sh .ci/run

.PHONY: fix
fix: ## let ruff and clang-format mend what they can
	@$(SETUP) test lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(C_OWN)

.PHONY: security-report
# RUN= runs no lane and takes what the last runs of the lanes left in build/lanes; the machines' lanes always come from there
# (make test-vm). Fuzzing: make fuzz.
security-report: RUN ?= root user subids userns faults
security-report: ## docs/security-report.md: attacks in some lanes, faults, fuzzing, peers; some ten minutes
	@$(SETUP) test bench
	@PYTHONPATH=scripts:tests $(BIN)/python -m security --peers $(RUN)

.PHONY: portability
portability: ## docs/portability.md: images on several kernels, as root and as a user; some twenty minutes
	@$(SETUP) test vm
	@PYTHONPATH=scripts $(BIN)/python -m portability $(ARGS)

.PHONY: conformance
conformance: ## docs/conformance.md: the OCI runtime beside crun and runc, here and with cgroup v2; some ten minutes
	@$(SETUP) test vm
	@PYTHONPATH=scripts $(BIN)/python -m conformance $(ARGS)

.PHONY: bench
bench: ## benchmarks against the competitors, into docs/; ARGS=benchmarks/test_oci.py: some
	@$(SETUP) test bench
	@mkdir -p build
	@$(BIN)/python -m pytest --benchmark-only -p no:cacheprovider --benchmark-json build/bench.json $(or $(ARGS),benchmarks)
	@$(BIN)/python scripts/bench_report.py build/bench.json docs

.PHONY: dist
dist: ## sdist, a wheel built from it, and checks of both
	@$(SETUP) dist
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/abi3audit --strict --report dist/*.whl

.PHONY: clean
clean: ## remove what was built, and the virtual environment
	rm -rf build dist *.egg-info $(VENV) pycontain/_init pycontain/_layer pycontain/selftest/_probe pycontain/_nsbind*.so
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
