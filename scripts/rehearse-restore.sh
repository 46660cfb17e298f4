#!/bin/bash
# Rehearses a backup and the way back to it, as docs/operate.md tells it, on a deployment of its own that ends with it: a base
# backup and the keys are kept, everything is lost under a node that goes on, and put back; `sluice restore`; and then it is
# shown what is found, what is refused and that the log verifies. It is a test of the test command, which says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
export SQLX_OFFLINE=true CARGO_TERM_COLOR=never
log=target/test-log/restore-rehearsal.log
mkdir -p "$(dirname "$log")"
rehearsal=restore::a_backup_is_restored_as_the_operators_page_says
if cargo test --locked -p sluice-tests --test end_to_end -- --nocapture --exact "$rehearsal" 2>&1 \
    | tee "$log" | sed -un 's/^rehearsal: //p' && grep -q "^test $rehearsal \.\.\. ok\|^test result: ok. 1 passed" "$log"; then
    echo "the rehearsal went well"
else
    tail -40 "$log" >&2
    echo "the rehearsal failed; the whole log is $log" >&2
    exit 1
fi
