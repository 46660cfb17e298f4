#!/bin/bash
# What delivers the product, checked without an engine or a cluster: the image and its bill of materials, docker-compose.yml,
# the Kubernetes manifests, the alerts with their tests, the dashboards; and both planes run as the files say they shall be.
# Tools come from registries into a cache outside the checkout, by version; one that can't be had is SKIPPED with its reason.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
tools=${SLUICE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice-tools}
export PATH=$tools/infra/bin:$tools/bin:$PATH
mkdir -p "$tools/infra/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        grep '^note: ' "$work/said"
        echo "test result: ok. 1 passed; 0 failed; $name"
    else
        tail -60 "$work/said"
        echo "test result: FAILED. 0 passed; 1 failed; $name"
        wrong=1
    fi
}

skip() { echo "SKIPPED $1"; }

# have NAME COMMAND...: whether a program is there, or the command could install it.
have() {
    local name=$1
    shift
    command -v "$name" >/dev/null && return
    "$@" >"$work/install" 2>&1 && command -v "$name" >/dev/null
}

from_go() { # NAME PACKAGE@VERSION
    command -v go >/dev/null || return 1
    mkdir -p "$tools/infra/go" && GOBIN=$tools/infra/go GOFLAGS=-buildvcs=false CGO_ENABLED=0 nice go install "$2" || return 1
    local program=${2%@*}
    case $(basename "$program") in v[0-9]*) program=$(dirname "$program") ;; esac
    mv "$tools/infra/go/$(basename "$program")" "$tools/infra/bin/$1"
}

# Debian's package holds the tool beside a daemon that must not start: it is unpacked, not installed.
from_debian() { # PROGRAM PACKAGE...: its own first, then those of its libraries
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    local program=$1 package deb=$tools/infra/deb
    shift
    for package in "$@"; do
        mkdir -p "$deb" && (cd "$deb" && apt-get download "$package" && dpkg -x "$package"_*.deb .) || return 1
    done
    cat >"$tools/infra/bin/$program" <<END
#!/bin/sh
LD_LIBRARY_PATH=$(echo "$deb"/usr/lib/*-linux-gnu) exec $(ls "$deb"/usr/*bin/"$program") "\$@"
END
    chmod +x "$tools/infra/bin/$program"
}

# Python's programs have a folder of their own for each set of pins.
python=$tools/infra/python-$(cksum <infra/test/requirements.txt | cut -d' ' -f1)
if [ ! -e "$python/complete" ]; then
    python3 -m venv "$python" >"$work/python" 2>&1 \
        && "$python/bin/pip" install -q --disable-pip-version-check -r infra/test/requirements.txt >>"$work/python" 2>&1 \
        && touch "$python/complete"
fi
[ -e "$python/complete" ] || { cat "$work/python"; skip "everything about delivery: Python's packages can't be had here"; exit 0; }
export PATH=$python/bin:$PATH

manifests() { python infra/test/manifests.py "$@"; }

check "the Dockerfile follows the rules" hadolint infra/image/Dockerfile
check "scripts are sound" shellcheck -S warning scripts/infra.sh infra/image/sbom.sh infra/compose/setup.sh infra/compose/postgres.sh
check "the image is built of what its build needs" manifests image

bill_of_materials() { infra/image/sbom.sh "$work/sbom.json" && python infra/test/sbom.py "$work/sbom.json"; }
install_cyclonedx() { [ -n "${SLUICE_CI:-}" ] && cargo install --quiet --locked --version 0.5.9 --root "$tools" cargo-cyclonedx; }
if have cargo-cyclonedx install_cyclonedx; then
    check "the bill of materials names every crate" bill_of_materials
else
    skip "the bill of materials: cargo-cyclonedx 0.5.9 is not installed (CI installs it)"
fi

compose=
if have compose from_go compose github.com/compose-spec/compose-go/v2/cmd@v2.16.1; then
    check "docker-compose.yml is a compose file" eval 'compose -format json docker-compose.yml >"$work/compose.json"'
    check "its services have no more rights than they need" manifests compose "$work/compose.json"
    compose=$work/compose.json
else
    skip "docker-compose.yml: Go can't build the compose library's reader here"
fi

if have haproxy from_debian haproxy haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1; then
    check "the balancer takes its settings" haproxy -c -f infra/compose/haproxy.cfg
else
    skip "the balancer's settings: haproxy is not here, nor Debian's packages of it"
fi

kustomized=
if have kustomize from_go kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.8.1; then
    for overlay in small production; do
        check "the overlay $overlay is made" eval "kustomize build infra/kubernetes/overlays/$overlay >'$work/$overlay.yaml'"
        for version in 1.30 1.34; do
            check "$overlay is what Kubernetes $version takes" manifests schemas "$work/$overlay.yaml" "$version"
        done
        check "$overlay is fenced, restricted and holds no secret" manifests kubernetes "$work/$overlay.yaml"
        if have kube-score from_go kube-score github.com/zegl/kube-score/cmd/kube-score@v1.20.0; then
            # A limit on CPU would slow calls while cores idle; the tag of an image is never moved.
            check "$overlay is without a critical finding" kube-score score "$work/$overlay.yaml" \
                --ignore-container-cpu-limit --ignore-test container-image-pull-policy
        else
            skip "kube-score of $overlay: Go can't build it here"
        fi
    done
    for side in callers upstreams; do
        check "the fence around $side is made" eval "kustomize build infra/kubernetes/$side >'$work/$side.yaml'"
        check "the fence around $side is what Kubernetes takes" manifests schemas "$work/$side.yaml" 1.30
    done
    check "agents reach the gateway alone, servers inside its nodes alone" manifests neighbours "$work/callers.yaml" "$work/upstreams.yaml"
    kustomized=$work/small.yaml
else
    skip "the Kubernetes manifests: Go can't build kustomize here"
fi

if have promtool from_debian promtool prometheus; then
    check "the rules are rules" promtool check rules infra/prometheus/sluice.rules.yml
    check "the scrape settings are settings" promtool check config infra/prometheus/scrape.yml
    check "every alert fires, and only when it should" promtool test rules infra/prometheus/*.test.yml
else
    skip "the alerts' tests: promtool is not here, nor Debian's package of it"
fi
check "the dashboards are what make.py writes" python infra/grafana/make.py check
check "every alert has its tests and its page in the runbook" manifests alerts
check "what is watched is what the program counts" manifests metrics

if [ -x "${SLUICE_BIN:-target/release/sluice}" ]; then
    [ -z "$compose" ] || check "the planes run as docker-compose.yml says" env METRICS="$work/metrics" python infra/test/planes.py compose "$compose"
    [ -z "$kustomized" ] || check "the planes run as the manifests say" python infra/test/planes.py kubernetes "$kustomized"
    [ ! -s "$work/metrics" ] || check "what runs counts under the watched names" manifests live "$work/metrics"
else
    skip "running the planes: the program is not built"
fi
exit $wrong
