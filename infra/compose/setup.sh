#!/bin/bash
# Makes what a compose deployment keeps to itself, once: the deployment's keys and the services' passwords. Each service has
# a folder (a volume) of its own below $SECRETS with what concerns it alone, readable by its user alone. What is there stays.
set -euo pipefail
umask 077
secrets=${SECRETS:-/secrets}
sluice=${SLUICE_BIN:-/usr/bin/sluice}
planes=${PLANES_USER:-65532} services=${SERVICES_USER:-999}

# The node's part of the rules in cli/src/up/redis.rs: it reads everything and writes what is its own.
node_rules='+@all -@admin -@dangerous +info +config|get resetchannels &hint &withdrawn %R~* %RW~audit:{?} %RW~audit:{??} %RW~audit:{???} %RW~nodes %RW~*:live %RW~*:session_ended:* %RW~*:session:* %RW~*:upstream_session:* %RW~*:seen_labels:* %RW~seen_labels_began %RW~relay_used:*'

new_password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

give() { # USER FILE: the file becomes this user's, read-only; the folder is passed through
    chown "$1:$1" "$2"
    chmod 0400 "$2"
}

# A folder is marked when all of them are complete: one without a mark beside one with it was lost, or the marking was cut off.
declare -A last=([control-plane]=keys/deployment.id [node]=keys/deployment.id [postgres]=sluice [redis]=redis.conf)
there=() missing=() unmarked=()
for one in control-plane node postgres redis; do
    if [ -e "$secrets/$one/made" ]; then there+=("$one")
    elif [ -e "$secrets/$one/${last[$one]}" ]; then unmarked+=("$one")
    else missing+=("$one"); fi
done
mark() {
    for one in "$@"; do
        : >"$secrets/$one/made"
        chmod 0400 "$secrets/$one/made"
    done
}
if [ ${#there[@]} != 0 ] && [ ${#missing[@]} = 0 ]; then
    mark "${unmarked[@]}"
    echo "the secrets are there already"
    exit 0
fi
if [ ${#there[@]} != 0 ]; then
    echo "the secrets of ${missing[*]} are missing, those of ${there[*]} are there: put the missing volumes back from your" >&2
    echo "copy. Nothing was made anew: what they sealed would be lost." >&2
    exit 1
fi
# A start that was cut off made keys nothing was sealed with: no service began before all was made.
rm -rf "${secrets:?}"/{control-plane,node,postgres,redis}/*
chmod 0711 "$secrets"/{control-plane,node,postgres,redis}

owner=$(new_password) program=$(new_password) control=$(new_password) node=$(new_password)
for user in "$owner" "$program" "$control" "$node"; do [ ${#user} = 48 ] || { echo "no randomness" >&2; exit 1; }; done

printf '%s' "$owner" >"$secrets/postgres/superuser"
printf '%s' "$program" >"$secrets/postgres/sluice"
printf 'postgres://sluice:%s@%s/sluice' "$program" "${POSTGRES:-postgres:5432}" >"$secrets/control-plane/database-url"
printf 'redis://control:%s@%s/' "$control" "${REDIS:-redis:6379}" >"$secrets/control-plane/redis-url"
printf 'redis://node:%s@%s/' "$node" "${REDIS:-redis:6379}" >"$secrets/node/redis-url"
cat >"$secrets/redis/redis.conf" <<END
save ""
appendonly no
maxmemory ${REDIS_MEMORY:-1gb}
maxmemory-policy noeviction
user default off
user control on >$control ~* &* +@all
user node on >$node $node_rules
END

"$sluice" keys create "$secrets/making"
mkdir -m 0711 "$secrets/node/keys" "$secrets/control-plane/keys"
cp "$secrets"/making/{master.key,verifying.keys,deployment.id} "$secrets/node/keys/"
cp "$secrets"/making/{master.key,verifying.keys,signing.key,checkpoint.key,deployment.id} "$secrets/control-plane/keys/"
for file in "$secrets"/control-plane/*-url "$secrets"/control-plane/keys/* "$secrets"/node/redis-url "$secrets"/node/keys/*; do
    give "$planes" "$file"
done
for file in "$secrets"/postgres/* "$secrets"/redis/*; do give "$services" "$file"; done
rm -rf "$secrets/making"
mark control-plane node postgres redis
echo "made the deployment's keys and passwords"
