# Two commands set everything up on a machine with a Rust toolchain: `make run` and `make test`.
CARGO ?= cargo
ARGS ?=

.PHONY: run build test check unit integration sim fuzz fuzz-short bench kill-loop sync-mutations soak-compaction \
	txn-chaos streams connect docs

run:            ## build, then start a broker on localhost:9092
	$(CARGO) run --release --bin ottla -- start $(ARGS)

build:          ## the release binary, target/release/ottla
	$(CARGO) build --release --bin ottla

test: check unit fuzz-short integration  ## everything that must pass before a change lands

check:          ## formatting, lints, crate graph, licences
	scripts/check

unit:           ## unit, property, crash and simulation tests
	$(CARGO) test --workspace --quiet

sim:            ## a hundred thousand seeds of the simulation
	$(CARGO) run --release -p ottla-sim -- --seeds 0..100000

integration:    ## black-box tests with other people's clients
	integration-tests/run

fuzz-short:     ## a few seconds of fuzzing per target, the same inputs in every run
	scripts/fuzz short

fuzz:           ## libFuzzer, FUZZ_SECONDS (3600) per target; FUZZ_TARGETS=... for some
	scripts/fuzz long $(FUZZ_TARGETS)

bench:          ## beside Kafka where ../shared/peers exists, and micro-benchmarks
	scripts/bench $(ARGS)

kill-loop:      ## SIGKILL under load, again and again, every record and transaction accounted for
	integration-tests/kill-loop --rounds 100
	integration-tests/kill-loop-transactions --rounds 50

sync-mutations: ## takes each fsync out of the code; a test has to fail
	scripts/sync-mutations

soak-compaction: ## 10 GB of updates over a million keys while others produce and consume
	integration-tests/soak-compaction --megabytes 10000 --keys 1000000 --rate 60

txn-chaos:      ## ten minutes of SIGKILL under consume-transform-produce, each input exactly once
	integration-tests/txn-chaos --seconds 600

streams:        ## Kafka Streams with exactly_once_v2, killed in the middle
	integration-tests/run --only streams

connect:        ## Kafka Connect and MirrorMaker 2, killed and resumed
	integration-tests/run --only connect

docs:           ## regenerate docs/reference from the tables in the code
	OTTLA_BLESS=1 $(CARGO) test --workspace --quiet reference
