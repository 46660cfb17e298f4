#!/bin/bash
# Writes what is generated and committed: `generate.sh sqlx` the types of every SQL statement (.sqlx/), `generate.sh
# openapi` the API's description. `generate.sh check-sqlx` says whether .sqlx/ is what the statements ask for now.
set -euo pipefail
cd "$(dirname "$0")/.."

# Compiles `store` against a database made by the migrations alone; sqlx writes what it learnt into the folder $1.
describe_statements() {
    rm -rf "$1" && mkdir -p "$1"
    touch crates/store/src/lib.rs
    SQLX_OFFLINE_DIR=$(cd "$1" && pwd) target/release/sluice with-services --folder target/describe -- bash -euc '
        for file in migrations/*.sql; do psql -q -v ON_ERROR_STOP=1 -1 -f "$file" "$DATABASE_URL" >/dev/null; done
        SQLX_OFFLINE=false cargo check --quiet --locked -p store'
    touch crates/store/src/lib.rs
}

case "${1:-}" in
sqlx)
    describe_statements .sqlx
    ;;
check-sqlx)
    describe_statements target/sqlx-now
    diff -r .sqlx target/sqlx-now || { echo ".sqlx/ is not what the statements ask for: run \`make sqlx\` and commit it" >&2; exit 1; }
    ;;
openapi)
    SLUICE_REFRESH=1 SQLX_OFFLINE=true target/release/sluice with-services -- cargo test --quiet --locked -p control-plane --test api document
    ;;
*)
    echo "usage: generate.sh sqlx | check-sqlx | openapi" >&2
    exit 2
    ;;
esac
