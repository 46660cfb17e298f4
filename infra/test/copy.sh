#!/bin/sh
# Writes what the Kubernetes component of monitoring holds again from infra/prometheus and infra/grafana.
set -eu
cd "$(dirname "$0")/.."
to=kubernetes/components/monitoring
python3 grafana/make.py
cp grafana/*.json "$to/"
{
    printf '# A copy of infra/prometheus/sluice.rules.yml; infra/test/copy.sh writes it.\n'
    printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: sluice\nspec:\n'
    sed -n '/^groups:/,$p' prometheus/sluice.rules.yml | sed 's/^\(.\)/  \1/'
} >"$to/rules.yaml"
