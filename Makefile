# make up    sets up this machine, builds Sluice and runs it: Postgres, Redis, both planes, a demo tenant
# make test  proves the product: formatting, lints, every test, on real servers and clients
# make bench measures what the gateway adds; bench-live how fast a change, a revocation and a record arrive; bench-scale
#            whether a call costs more with many tenants, tools and policies; bench-search how
#            fast ten million records are searched; bench-soak whether memory stays flat for an hour at half load;
#            bench-ingest how many records a second the log takes in for ten minutes
# make screenshots a picture of every screen of the console in every state, in target/screenshots: light, dark, phone
# make bench-verify how many records a second `sluice audit verify` proves on one core
# make chaos brings about every failure we can think of, again and again under load, and counts the records: a table
# make restore-rehearsal takes a backup, loses everything, goes back to it as docs/operate.md says, and shows what is there
# make model visits every state of the audit protocol that a few calls and faults can lead to
.PHONY: up setup build test bench bench-verify bench-live bench-scale bench-search bench-soak bench-ingest chaos model restore-rehearsal screenshots openapi sqlx

up: setup build
	@exec target/release/sluice up

setup:
	@scripts/setup.sh
	@scripts/web.sh

build:
	@SQLX_OFFLINE=true cargo build --release --locked -p sluice

test:
	@scripts/setup.sh test
	@scripts/web.sh
	@scripts/test.sh

bench: setup
	@scripts/bench.sh calls lists

bench-verify: setup
	@SQLX_OFFLINE=true cargo run --quiet --release --locked -p audit --example verify_rate

bench-live: setup
	@scripts/bench.sh live

bench-scale: setup
	@scripts/bench.sh scale

bench-soak: setup
	@scripts/bench.sh soak

bench-ingest: setup build
	@scripts/bench.sh ingest

bench-search: setup
	@SLUICE_BENCH_RECORDS=10000000 scripts/bench.sh search

chaos: setup build
	@scripts/test.sh chaos

restore-rehearsal: setup build
	@scripts/rehearse-restore.sh

model: setup
	@SLUICE_MODEL=1 cargo test --release --locked -p audit --lib protocol -- --nocapture

screenshots: setup build
	@scripts/screenshots.sh

# Writes docs/openapi.json and .sqlx/ again after a change of the API or of a statement.
openapi sqlx: setup build
	@scripts/generate.sh $@
