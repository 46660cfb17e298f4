# make up    sets up this machine, builds Sluice and runs it: Postgres, Redis, both planes, a demo tenant
# make test  proves the product: formatting, lints, every test, on real servers and clients
# make bench measures what the gateway adds; bench-live how fast a change, a revocation and a record arrive
# make screenshots a picture of every screen of the console, in target/screenshots
# make chaos kills every process again and again under load and counts the records
.PHONY: up setup build test bench bench-live chaos screenshots openapi sqlx

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

bench-live: setup
	@scripts/bench.sh live

chaos: setup build
	@scripts/test.sh chaos

screenshots: setup build
	@scripts/screenshots.sh

# Writes docs/openapi.json and .sqlx/ again after a change of the API or of a statement.
openapi sqlx: setup build
	@scripts/generate.sh $@
