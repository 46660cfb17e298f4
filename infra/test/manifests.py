#!/usr/bin/env python3
"""What must hold of the files that deliver the product; each function below is one fact, named by its first argument."""
import ipaddress
import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"


def wrong_unless(condition, what):
    if not condition:
        raise SystemExit(what)


def image():
    """Everything the Dockerfile copies and the crates embed is let into the build, and nothing that is not in git."""
    lines = (ROOT / ".dockerignore").read_text().split()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    wrong_unless("*" in lines, ".dockerignore must begin by keeping everything out")
    passes = lambda path: any(path == one or path.startswith(one + "/") for one in allowed)
    needed = {"Cargo.toml", "Cargo.lock", "LICENSE", "rust-toolchain.toml", ".sqlx", "migrations", "tests/Cargo.toml"}
    for source in [*ROOT.glob("crates/**/*.rs"), *ROOT.glob("c*/src/**/*.rs"), *ROOT.glob("data-plane/src/**/*.rs")]:
        for embedded in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
            path = (source.parent / embedded).resolve()
            if path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "web/dist"):
                needed.add(str(path.relative_to(ROOT)))
    dockerfile = (INFRA / "image/Dockerfile").read_text()
    needed |= {source for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile, re.M) if source != "."}
    missing = sorted(path for path in needed if not passes(path.rstrip("/")))
    wrong_unless(not missing, f"the build needs what .dockerignore keeps out: {missing}")
    final = dockerfile.split("\nFROM ")[-1]
    wrong_unless("USER 65532:65532" in final and "RUN" not in final, "the image runs as a user without a name and adds no layer of its own by a shell")
    wrong_unless(all(":" in one for one in re.findall(r"^ARG \w+=(\S+/\S+)$", dockerfile, re.M)), "every base has a tag")
    toolchain = re.search(r'channel = "([^"]+)"', (ROOT / "rust-toolchain.toml").read_text())[1]
    wrong_unless(f"rust:{toolchain}-" in dockerfile and f"RUSTUP_TOOLCHAIN={toolchain} " in dockerfile, f"the image is built by Rust {toolchain}, as rust-toolchain.toml says")


def known_settings():
    """Every variable either plane reads."""
    sources = [ROOT / "control-plane/src/config.rs", ROOT / "data-plane/src/config.rs", ROOT / "cli/src/plane.rs"]
    return set(re.findall(r'"((?:SLUICE|VAULT|REDIS|AUDIT_REDIS|DATABASE)_\w+)"', "".join(path.read_text() for path in sources)))


def check_settings(where, names):
    known = known_settings()
    for name in names:
        wrong_unless(name in known or name.removesuffix("_FILE") in known, f"{where} sets {name}, which no plane reads")


def compose(path):
    """No service of ours is root, writes to its image or has a capability; secrets are files; only planes go out."""
    model = json.load(open(path))
    rights = {"setup": {"CHOWN", "FOWNER", "DAC_OVERRIDE"}}
    for name, service in model["services"].items():
        wrong_unless(service.get("read_only") and service.get("cap_drop") == ["ALL"], f"{name} is not read-only without capabilities")
        wrong_unless("no-new-privileges:true" in service.get("security_opt", []), f"{name} may gain rights")
        wrong_unless(set(service.get("cap_add", [])) == rights.get(name, set()), f"{name} has other capabilities than it needs")
        wrong_unless(name == "setup" or service.get("user", "0").split(":")[0] != "0", f"{name} runs as root")
        image = service.get("image", "")
        wrong_unless(re.search(r":(?!latest)[\w.-]+$", image), f"{name} has no version: {image}")
        for port in service.get("ports", []):
            wrong_unless(port.get("host_ip") == "127.0.0.1", f"{name} is published to more than this machine")
        for key, value in (service.get("environment") or {}).items():
            wrong_unless(not re.search(r"://[^/@]*:[^/@]+@", str(value)), f"{name} has a password in {key}")
        if (service.get("command") or [""])[0] in ("control-plane", "data-plane"):
            check_settings(name, service["environment"])
    ours = re.search(r'NODE_RULES: &str = "([^"]+)"', (ROOT / "cli/src/up/redis.rs").read_text())[1]
    theirs = re.search(r"^node_rules='([^']+)'$", (INFRA / "compose/setup.sh").read_text(), re.M)[1]
    wrong_unless(re.sub(r"\\\n\s*", "", ours) == theirs, "setup.sh gives nodes other rights in Redis than cli/src/up/redis.rs")
    networks = {name: set(service.get("networks") or {}) for name, service in model["services"].items()}
    sealed = {name for name, network in model["networks"].items() if network and network.get("internal")}
    wrong_unless(all(networks[name] <= sealed for name in ("postgres", "redis")), "Postgres and Redis have a way out")
    near = lambda name: {other for other in networks if other != name and networks[other] & networks[name]}
    wrong_unless(near("postgres") == near("mail") == {"control-plane"}, f"{near('postgres')} reach Postgres, {near('mail')} the mails")
    wrong_unless(near("redis") == {"control-plane", "node-1", "node-2", "gateway"}, f"{near('redis')} reach Redis")
    node = [service for service in model["services"].values() if (service.get("command") or [""])[0] == "data-plane"]
    wrong_unless(len({one["environment"]["SLUICE_NODE_ID"] for one in node}) == len(node) == 2, "two nodes have two ids")
    sources = lambda one: {volume["source"] for volume in one["volumes"]}
    wrong_unless(all("control-plane-secrets" not in sources(one) for one in node), "a node sees the control plane's secrets")


def schemas(path, version):
    """Every object is what the API server of this version takes, unknown fields refused."""
    import kubernetes_validate
    for document in yaml.safe_load_all(open(path)):
        if document["apiVersion"].split("/")[0] == "monitoring.coreos.com":
            continue  # the operator's own kinds: promtool checks what is in them
        kubernetes_validate.validate(document, version, strict=True)


def kubernetes(path):
    documents = list(yaml.safe_load_all(open(path)))
    kinds = {}
    for one in documents:
        kinds.setdefault(one["kind"], []).append(one)
    wrong_unless("Secret" not in kinds, "a secret stands in the manifests")
    workloads = kinds["Deployment"] + kinds["StatefulSet"]
    for workload in workloads:
        restricted(workload)
    settings = {one["metadata"]["name"]: one["data"] for one in kinds["ConfigMap"]}
    planes = [one for one in workloads if one["spec"]["template"]["spec"]["containers"][0]["image"].count("/sluice:")]
    wrong_unless(len(planes) == 2, "there are two planes")
    for plane in planes:
        check_plane(plane, settings)
    for workload in planes:
        labels = workload["spec"]["template"]["metadata"]["labels"]
        budgets = [one for one in kinds["PodDisruptionBudget"] if one["spec"]["selector"]["matchLabels"].items() <= labels.items()]
        wrong_unless(len(budgets) == 1, f"{workload['metadata']['name']} has one disruption budget")
    scaler = kinds["HorizontalPodAutoscaler"][0]["spec"]
    wrong_unless(scaler["maxReplicas"] <= 10, "ids of nodes take one digit")
    services(kinds, workloads)
    fences(kinds["NetworkPolicy"], workloads)


def restricted(workload):
    """The Pod Security Standard `restricted`, and a file system that is not written to."""
    name, pod = workload["metadata"]["name"], workload["spec"]["template"]["spec"]
    security = pod["securityContext"]
    wrong_unless(security["runAsNonRoot"] and security["runAsUser"] > 0, f"{name} may be root")
    wrong_unless(security["seccompProfile"]["type"] == "RuntimeDefault", f"{name} has no seccomp profile")
    wrong_unless(pod["automountServiceAccountToken"] is False, f"{name} has a token of the cluster")
    wrong_unless(not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), f"{name} shares the host")
    kinds = {key for volume in pod.get("volumes", []) for key in volume if key != "name"}
    wrong_unless(kinds <= {"projected", "secret", "emptyDir", "configMap"}, f"{name} mounts {kinds}")
    for container in pod["containers"]:
        own = container["securityContext"]
        wrong_unless(own["readOnlyRootFilesystem"] and own["allowPrivilegeEscalation"] is False, f"{name} may gain rights")
        wrong_unless(own["capabilities"] == {"drop": ["ALL"]}, f"{name} has capabilities")
        wrong_unless({"cpu", "memory"} <= container["resources"]["requests"].keys(), f"{name} asks for nothing")
        wrong_unless("memory" in container["resources"]["limits"], f"{name} has no bound on memory")
        wrong_unless({"readinessProbe", "livenessProbe"} <= container.keys(), f"{name} is not probed")


def check_plane(plane, settings):
    name, pod = plane["metadata"]["name"], plane["spec"]["template"]["spec"]
    container, environment = pod["containers"][0], {}
    for source in container["envFrom"]:
        environment |= settings.get(source.get("configMapRef", {}).get("name"), {})
    environment |= {one["name"]: one.get("value") for one in container.get("env", []) if not one["name"].startswith("POD_")}
    check_settings(name, environment)
    mounted = {item["path"] for volume in pod["volumes"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
    for key, value in environment.items():
        if key.endswith("_FILE"):
            wrong_unless(value.removeprefix("/run/sluice/") in mounted, f"{name}: {key} names a file that is not mounted")
    is_node = container["args"] == ["data-plane"]
    wrong_unless(("keys/signing.key" in mounted) != is_node, f"{name} and the signing key")
    wrong_unless(("database-url" in mounted) != is_node, f"{name} and the address of Postgres")
    ends_within = int(environment["SLUICE_LEAVE_S"]) + 20
    wrong_unless(pod["terminationGracePeriodSeconds"] > ends_within, f"{name} is killed before it has ended")
    if is_node:
        claim = plane["spec"]["volumeClaimTemplates"][0]
        place = next(one["mountPath"] for one in container["volumeMounts"] if one["name"] == claim["metadata"]["name"])
        wrong_unless(environment["SLUICE_DATA_DIR"] == place, "the spool is not on the claimed disk")
        wrong_unless(int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) > 20, "the spool takes 20 GiB")


def services(kinds, workloads):
    """Every service leads to a pod's port, every ingress to a service's."""
    ports = {}
    for one in kinds["Service"]:
        labels = one["spec"]["selector"]
        pods = [w["spec"]["template"] for w in workloads if labels.items() <= w["spec"]["template"]["metadata"]["labels"].items()]
        wrong_unless(len(pods) == 1, f"{one['metadata']['name']} leads nowhere")
        named = {port["name"] for port in pods[0]["spec"]["containers"][0]["ports"]}
        wrong_unless(all(port["targetPort"] in named for port in one["spec"]["ports"]), f"{one['metadata']['name']}: no such port")
        ports[one["metadata"]["name"]] = {port["name"] for port in one["spec"]["ports"]}
    for one in kinds["Ingress"]:
        for rule in one["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                wrong_unless(backend["port"]["name"] in ports[backend["name"]], f"{one['metadata']['name']} leads nowhere")
        wrong_unless(one["spec"]["tls"], f"{one['metadata']['name']} does not end TLS")


PUBLIC, PRIVATE, METADATA = "93.184.215.14", "10.1.2.3", "169.254.169.254"
INGRESS, MONITORING, OTHER = ({"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring", "default"))


class Fences:
    """What the network policies come to."""

    def __init__(self, policies):
        self.policies = policies

    def allows(self, direction, pod, peer, port):
        """Whether traffic between a pod of these labels and a peer passes; peer is an address, ("pod", labels), ("namespace", labels)
        or ("there", a namespace's labels, labels of a pod in it)."""
        about = [one["spec"] for one in self.policies if direction in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], pod)]
        if not about:
            return True
        side = {"Ingress": "from", "Egress": "to"}[direction]
        return any(
            any(entry["port"] == port for entry in rule.get("ports", [{"port": port}])) and any(is_peer(entry, peer) for entry in rule[side])
            for spec in about for rule in spec.get(direction.lower(), []))


def matches(selector, labels):
    for each in selector.get("matchExpressions", []):
        if labels.get(each["key"]) not in each["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def is_peer(entry, peer):
    if isinstance(peer, str):
        address, block = ipaddress.ip_address(peer), entry.get("ipBlock")
        if not block or address not in ipaddress.ip_network(block["cidr"]):
            return False
        return not any(address in ipaddress.ip_network(one) for one in block.get("except", []))
    if peer[0] == "there":
        _, namespace, pod = peer
        return "namespaceSelector" in entry and matches(entry["namespaceSelector"], namespace) and matches(entry.get("podSelector", {}), pod)
    kind, labels = peer
    if kind == "namespace":
        return "namespaceSelector" in entry and "podSelector" not in entry and matches(entry["namespaceSelector"], labels)
    return "podSelector" in entry and "namespaceSelector" not in entry and matches(entry["podSelector"], labels)


def fences(policies, workloads):
    fence = Fences(policies)
    label = lambda name: {"app.kubernetes.io/name": name}
    node, control, stranger = label("sluice-node"), label("sluice-control-plane"), label("anything-else")
    expected = [
        # who, direction, peer, port, passes
        (node, "Egress", PUBLIC, 443, True), (node, "Egress", PUBLIC, 80, False), (node, "Egress", METADATA, 443, False),
        (node, "Egress", METADATA, 80, False), (node, "Egress", PRIVATE, 443, False), (node, "Egress", PRIVATE, 5432, False),
        (node, "Egress", PRIVATE, 6379, True), (node, "Egress", "fd00::1", 443, False), (node, "Egress", "2606:2800:21f::1", 443, True),
        (node, "Ingress", ("namespace", INGRESS), 7310, True), (node, "Ingress", ("namespace", INGRESS), 7311, False),
        (node, "Ingress", ("namespace", OTHER), 7310, False), (node, "Ingress", ("pod", control), 7311, True),
        (node, "Ingress", ("pod", stranger), 7311, False), (node, "Ingress", ("namespace", MONITORING), 7311, True),
        (control, "Egress", PRIVATE, 5432, True), (control, "Egress", ("pod", node), 7311, True), (control, "Egress", ("pod", node), 7310, False),
        (control, "Egress", METADATA, 443, False), (control, "Egress", PUBLIC, 443, True), (control, "Egress", PUBLIC, 22, False), (control, "Egress", PUBLIC, 8088, True), (control, "Egress", PRIVATE, 8088, False),
        (control, "Ingress", ("namespace", INGRESS), 7301, True), (control, "Ingress", ("namespace", INGRESS), 7305, False),
        (control, "Ingress", ("namespace", MONITORING), 7305, True), (control, "Ingress", ("pod", stranger), 7301, False),
        (stranger, "Egress", PUBLIC, 443, False), (stranger, "Ingress", ("pod", node), 80, False),
    ]
    redis = label("sluice-redis")
    if any(one["metadata"]["name"] == "sluice-redis" for one in workloads):
        expected += [
            (redis, "Ingress", ("pod", node), 6379, True), (redis, "Ingress", ("pod", stranger), 6379, False),
            (redis, "Egress", PUBLIC, 443, False), (node, "Egress", ("pod", redis), 6379, True), (control, "Egress", ("pod", redis), 6379, True),
        ]
    for who, direction, peer, port, passes in expected:
        wrong_unless(fence.allows(direction, who, peer, port) == passes, f"{who} {direction} {peer} {port} must be {passes}")


def neighbours(callers, upstreams):
    """Agents reach the gateway alone, and MCP servers inside are reached by its nodes alone."""
    read = lambda path: Fences([one for one in yaml.safe_load_all(open(path)) if one["kind"] == "NetworkPolicy"])
    namespace = lambda name: {"kubernetes.io/metadata.name": name}
    label = lambda name: {"app.kubernetes.io/name": name}
    anyone, dns = label("anything"), ("there", namespace("kube-system"), {"k8s-app": "kube-dns"})
    inside, beside = ("there", namespace("mcp-servers"), anyone), ("there", namespace("default"), anyone)
    node, control = (("there", namespace("sluice"), label(name)) for name in ("sluice-node", "sluice-control-plane"))
    expected = [
        (callers, "Egress", PUBLIC, 443, False), (callers, "Egress", PRIVATE, 443, False), (callers, "Egress", METADATA, 80, False),
        (callers, "Egress", inside, 8080, False), (callers, "Egress", beside, 443, False), (callers, "Egress", dns, 53, True),
        (callers, "Egress", ("there", INGRESS, label("ingress-nginx")), 443, True), (callers, "Egress", control, 7301, False),
        (upstreams, "Ingress", node, 8080, True), (upstreams, "Ingress", control, 8080, False), (upstreams, "Ingress", PRIVATE, 8080, False),
        (upstreams, "Ingress", ("there", namespace("agents"), anyone), 8080, False), (upstreams, "Ingress", ("there", namespace("agents"), label("sluice-node")), 8080, False),
    ]
    for path, direction, peer, port, passes in expected:
        wrong_unless(read(path).allows(direction, anyone, peer, port) == passes, f"{path} {direction} {peer} {port} must be {passes}")


def rules():
    return [rule for group in yaml.safe_load((INFRA / "prometheus/sluice.rules.yml").read_text())["groups"] for rule in group["rules"]]


def alerts():
    """Every alert has a test in which it fires and one in which it does not, and a chapter that says what to do."""
    tests = [test for path in INFRA.glob("prometheus/*.test.yml") for group in yaml.safe_load(path.read_text())["tests"] for test in group["alert_rule_test"]]
    chapters = {}
    for alert in (rule for rule in rules() if "alert" in rule):
        name = alert["alert"]
        outcomes = {bool(test["exp_alerts"]) for test in tests if test["alertname"] == name}
        wrong_unless(outcomes == {True, False}, f"{name} lacks a test")
        wrong_unless(alert["labels"]["severity"] in ("page", "ticket"), f"{name} wakes whom?")
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        if page not in chapters:
            heads = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.M)
            chapters[page] = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        wrong_unless(anchor in chapters[page], f"{name}: {page} has no chapter #{anchor}")
    copy = INFRA / "kubernetes/components/monitoring/rules.yaml"
    held = yaml.safe_load(copy.read_text())["spec"]["groups"]
    wrong_unless(held == yaml.safe_load((INFRA / "prometheus/sluice.rules.yml").read_text())["groups"], f"{copy.name} is no copy of the rules: run infra/test/copy.sh")
    for dashboard in INFRA.glob("grafana/*.json"):
        wrong_unless(dashboard.read_text() == (copy.parent / dashboard.name).read_text(), f"{dashboard.name} is no copy: run infra/test/copy.sh")


def watched():
    """Every name of a metric in a rule, its test or a dashboard."""
    texts = [path.read_text() for pattern in ("prometheus/*.yml", "grafana/*.json") for path in INFRA.glob(pattern)]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for name in set(re.findall(r"\bsluice:[\w:]+", "".join(texts))):
        wrong_unless(name in recorded, f"{name} is recorded nowhere")
    return set(re.findall(r"\bsluice_[a-z_]+", "".join(texts)))


def counted():
    """Every metric that the sources of the planes register, by its name on /metrics and what follows it."""
    found = set()
    for path in [file for folder in ("control-plane", "data-plane", "crates/service") for file in ROOT.glob(f"{folder}/src/**/*.rs")]:
        text = path.read_text()
        for name, rest in re.findall(r'"(sluice_[a-z_]+)"((?:[^;"]|"(?!sluice_)[^"]*")*)', text):
            unit = re.search(r"Unit::(Seconds|Bytes)", rest)
            found.add(name + (f"_{unit[1].lower()}" if unit and "register_with_unit" in text[: text.index(f'"{name}"')][-60:] + rest else ""))
            if unit:
                found.add(f"{name}_{unit[1].lower()}")
    return found


def metrics():
    known = counted()
    for name in sorted(watched()):
        bare = {name, *(name.removesuffix(end) for end in ("_total", "_bucket", "_count", "_sum"))}
        wrong_unless(bare & known, f"{name} is counted nowhere")


def live(path):
    """Where a running plane shows a metric's family, it shows it by the very name that is watched."""
    shown = set(pathlib.Path(path).read_text().split())
    stem = lambda name: re.sub(r"_(total|bucket|count|sum)$", "", name)
    for name in sorted(watched()):
        of_family = {one for one in shown if stem(one) == stem(name)}
        wrong_unless(not of_family or name in of_family, f"{name} is shown as {of_family}")
    grown = {name for rule in rules() for name in re.findall(r"increase\((sluice_\w+)", rule["expr"])}
    wrong_unless(grown <= shown, f"{sorted(grown - shown)} are not shown before their first event, which no alert then sees")
    unwatched = {stem(name) for name in shown} - {stem(name) for name in watched()}
    if unwatched:
        print(f"note: no dashboard shows {sorted(unwatched)}")


globals()[sys.argv[1]](*sys.argv[2:])
