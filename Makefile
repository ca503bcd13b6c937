# make demo   two feeds from real data, end to end
# make test   every test, against real servers
# make lint   formatting, and what .ci/run checks beside the tests
# make chaos  the tests of races, faults and damaged files, for longer: ten minutes
# make bench  CASE=queue, load, topk, word2vec, two-tower, rating-mlp, session, quality, redis, serve or
#             end-to-end: beside other systems, on this machine; needs python3 with venv

SHELL := /bin/sh
LARDER := .build/release/larder
SOURCES := Package.swift $(shell find Sources -type f)

TIMED := WorkerProcessTests|FaultTests|JobRunnerTests|UpkeepTests|RaceTests|PolicyTests|LookupQueueTests

.PHONY: demo test test-pooled chaos bench build lint format clean packages test-tools

demo: packages $(LARDER)
	@examples/movielens/fetch.sh
	@PATH="$(CURDIR)/.build/release:$$PATH" larder up -- examples/movielens/demo.sh

test: packages test-tools
	swift build --build-tests -j 2
	@# Training first, and the servers' tests after it: it would hold the few threads of a test
	@# process for minutes, and heartbeats and waits of the others would come too late. Those that are
	@# about time limits have a process to themselves.
	Tests/with-servers.sh sh -c \
		'scripts/test.sh --skip IntegrationTests && scripts/test.sh --filter "$(TIMED)" && \
		scripts/test.sh --filter IntegrationTests --skip "$(TIMED)"'
	@# The kernels of lesser processors.
	for cpu in v3 baseline; do \
		LARDER_CPU=$$cpu scripts/test.sh --filter 'TopKTests|KernelTests' || exit 1; \
	done

# What a pooler in transaction mode cannot do is left out: listening, and tests of one connection.
# One after the other: the pools of all databases at once would be more than the server has.
test-pooled: packages test-tools
	@scripts/install-packages.sh pgbouncer
	swift build --build-tests -j 2
	Tests/with-servers.sh Tests/with-pgbouncer.sh scripts/test.sh --no-parallel \
		--filter IntegrationTests --skip 'PostgresClientTests|workers are notified|notifications alone'

chaos: packages test-tools
	swift build --build-tests -j 2
	LARDER_CHAOS=1 Tests/with-servers.sh scripts/test.sh \
		--filter 'ModelTests|FaultTests|RaceTests|WorkerProcessTests|FuzzTests'

bench: packages $(LARDER)
	@Benchmarks/run.sh $(CASE)

build: packages $(LARDER)

$(LARDER): $(SOURCES)
	swift build -c release -j 2 --static-swift-stdlib --product larder
	@touch $@

packages:
	@scripts/install-packages.sh

test-tools:
	@scripts/install-test-tools.sh

lint:
	scripts/lint.sh

format:
	swift format --in-place -r -p Package.swift Sources Tests

clean:
	rm -rf .build .larder examples/movielens/data
