# gprofiler: build, try, test. Meson and Ninja do the work; see HACKING.md.
BUILD ?= build
SECONDS_ ?= 10
MESON_FLAGS ?=
BEGUN := $(shell date +%s)

.PHONY: build profile test lint bench soak matrix fuzz dist deb image clean install deps deps-all format

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet gprofiler gprofiler.1

# Installs what is missing from Debian's packages; does nothing (and needs no root) when all is there.
deps:
	@build-aux/install-deps

deps-all:
	@build-aux/install-deps all

$(BUILD)/build.ninja: | deps
	@meson setup $(BUILD) $(MESON_FLAGS) >$(BUILD).setup.log 2>&1 || { cat $(BUILD).setup.log; rm -f $(BUILD).setup.log; exit 1; }
	@rm -f $(BUILD).setup.log

# Ten seconds of this machine, and a flame graph of it.
profile: build
	@$(BUILD)/gprofiler -o out -d $(SECONDS_) -f 99 --top 20 --log-file out/gprofiler.log

test: deps-all build lint
	@build-aux/run-tests --build $(BUILD) --begun $(BEGUN)

lint: deps-all
	@build-aux/lint

bench: deps-all build
	@build-aux/run-bench --build $(BUILD)

# What takes longer than the ordinary test run may.
soak: deps-all build
	@build-aux/run-tests --build $(BUILD) --suite soak

matrix: deps-all build
	@build-aux/run-tests --build $(BUILD) --suite matrix

# Endless fuzzing with libFuzzer, a minute a target by default (FUZZ_SECONDS).
fuzz: deps-all
	@build-aux/run-fuzz

format: deps-all
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: build
	@meson install -C $(BUILD) --no-rebuild

# One archive with all it needs, for any x86-64 Linux.
dist: build
	@build-aux/make-dist $(BUILD)

# A Debian package for this release of Debian.
deb: build
	@build-aux/make-deb $(BUILD)

# An OCI archive: the tarball as a container image.
image: build
	@build-aux/make-image $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-clang $(BUILD)-fuzz out
