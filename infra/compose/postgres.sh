#!/bin/bash
# Run once by the image of Postgres, after roles.sql, while only it itself reaches the new server: the program's database.
set -euo pipefail
psql -v ON_ERROR_STOP=1 -v password="$(cat "$SLUICE_PASSWORD_FILE")" -U "$POSTGRES_USER" -d postgres <<'END'
alter role sluice password :'password';
create database sluice owner sluice;
\connect sluice
alter schema public owner to sluice;
END
