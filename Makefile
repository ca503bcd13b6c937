# make demo   two feeds from real data, end to end
# make test   every test, against real servers
# make lint   formatting, and what .ci/run checks beside the tests

SHELL := /bin/sh
LARDER := .build/release/larder
SOURCES := Package.swift $(shell find Sources -type f)

.PHONY: demo test build lint format clean packages

demo: packages $(LARDER)
	@examples/movielens/fetch.sh
	@PATH="$(CURDIR)/.build/release:$$PATH" larder up -- examples/movielens/demo.sh

test: packages
	swift build --build-tests -j 2
	Tests/with-servers.sh swift test --skip-build --disable-xctest

build: packages $(LARDER)

$(LARDER): $(SOURCES)
	swift build -c release -j 2 --static-swift-stdlib --product larder
	@touch $@

packages:
	@scripts/install-packages.sh

lint:
	scripts/lint.sh

format:
	swift format --in-place -r -p Package.swift Sources Tests

clean:
	rm -rf .build .larder examples/movielens/data
