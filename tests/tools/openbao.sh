#!/bin/sh
# Prints the path of an OpenBao (or Vault) binary, the real server of the credential stores' contract suite.
# Exits with 3 and one sentence when this machine has none.
set -eu
tools="${SLUICE_TOOLS:-$HOME/.cache/sluice-tools}"
for name in bao vault; do
    if command -v "$name"; then exit 0; fi
    if [ -x "$tools/$name" ]; then echo "$tools/$name"; exit 0; fi
done
echo "neither \`bao\` nor \`vault\` is on PATH or in $tools: install OpenBao 2 to run the suite against it"
exit 3
