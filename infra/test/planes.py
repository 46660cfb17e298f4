#!/usr/bin/env python3
"""Starts a deployment as docker-compose.yml or the Kubernetes manifests describe it, with real programs and no engine.

planes.py compose MODEL.json       the model that the compose library makes of docker-compose.yml
planes.py kubernetes MANIFESTS     what kustomize makes of an overlay

Every service gets a loopback address of its own, every volume a folder; commands, environment, mounted secrets and their
modes, users, health checks, probes and times to end are taken from the description as they stand. As root the planes run as
the user the image has. SLUICE_BIN names the program, METRICS a file to write the names of all metrics found to.
"""
import email
import fcntl
import http.client
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLUICE = os.environ.get("SLUICE_BIN") or str(ROOT / "target/release/sluice")
IS_ROOT = os.geteuid() == 0
PLANES = 65532 if IS_ROOT else os.geteuid()
# Postgres runs only as a user that has a name.
NAMED = {one.pw_name: one.pw_uid for one in pwd.getpwall()}
STORES = NAMED.get("postgres", NAMED.get("nobody")) if IS_ROOT else os.geteuid()


class Plane:
    """A process to be: what it is called, where it listens, how it is told what."""

    def __init__(self, name, address, command, environment, grace):
        self.name, self.address, self.command, self.environment, self.grace = name, address, command, environment, grace
        self.mounts, self.process = {}, None

    def environ(self, hosts):
        found = {}
        for key, value in self.environment.items():
            value = str(value).replace("0.0.0.0:", f"{self.address}:")
            for target, folder in self.mounts.items():
                value = re.sub(rf"^{re.escape(target)}(?=/|$)", str(folder), value)
            for host, address in hosts.items():
                value = re.sub(rf"(?<=[/@,]){re.escape(host)}(?=:\d)", address, value)
            found[key] = value
        return found

    def start(self, hosts, log):
        environment = self.environ(hosts)
        self.process = subprocess.Popen([SLUICE, *self.command], env=environment, stdout=log, stderr=log, cwd="/", **run_as(PLANES))
        self.ask_environment = environment

    def is_ready(self):
        """As compose asks: by the program itself."""
        asked = subprocess.run([SLUICE, "ready"], env=self.ask_environment, capture_output=True, **run_as(PLANES))
        return asked.returncode == 0


def run_as(user):
    return {"user": user, "group": user, "extra_groups": []} if IS_ROOT else {}


def until(what, condition, within=60):
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {within} s: {what}")
        time.sleep(0.1)


def program(*places):
    for place in places:
        found = shutil.which(place) or next(iter(sorted(map(str, pathlib.Path("/").glob(place.lstrip("/"))), reverse=True)), None)
        if found:
            return found
    return None


class Stores:
    """Postgres and Redis, made as the compose file's own scripts make them."""

    def __init__(self, base, postgres, redis):
        self.base, self.postgres, self.redis, self.processes = base, postgres, redis, []
        self.secrets = base / "secrets"
        for name in ("control-plane", "node", "postgres", "redis"):
            (self.secrets / name).mkdir(parents=True, mode=0o711)

    def set_up(self):
        environment = {
            "PATH": os.environ["PATH"], "SECRETS": str(self.secrets), "SLUICE_BIN": SLUICE, "PLANES_USER": str(PLANES),
            "SERVICES_USER": str(STORES), "POSTGRES": f"{self.postgres}:5432", "REDIS": f"{self.redis}:6379",
        }
        script = [str(ROOT / "infra/compose/setup.sh")]
        subprocess.run(script, env=environment, check=True, stdout=subprocess.DEVNULL)
        before = {path: path.read_bytes() for path in self.secrets.rglob("*") if path.is_file()}
        subprocess.run(script, env=environment, check=True, stdout=subprocess.DEVNULL)
        assert before == {path: path.read_bytes() for path in self.secrets.rglob("*") if path.is_file()}, "a second start changes no secret"
        # A volume that is missing is no reason to make the others' secrets anew.
        lost = self.secrets / "control-plane"
        lost.rename(self.base / "lost")
        lost.mkdir(mode=0o711)
        again = subprocess.run(script, env=environment, capture_output=True, text=True)
        lost.rmdir()
        (self.base / "lost").rename(lost)
        assert again.returncode == 1 and "control-plane are missing" in again.stderr, again
        assert before == {path: path.read_bytes() for path in self.secrets.rglob("*") if path.is_file()}, "nothing is made anew"
        modes = {path.stat().st_mode & 0o777 for path in before}
        assert modes == {0o400}, f"secrets are readable by their user alone, not {modes}"

    def start(self, log):
        binaries = pathlib.Path(program("/usr/lib/postgresql/*/bin/initdb", "initdb")).resolve().parent
        data = self.base / "postgres"
        data.mkdir()
        socket = self.base / "socket"
        socket.mkdir()
        for folder in (data, socket):
            if IS_ROOT:
                os.chown(folder, STORES, STORES)
        run = lambda *command, **more: subprocess.run(command, check=True, stdout=log, stderr=log, cwd="/", **more, **run_as(STORES))
        # As the image does: a superuser with the password of the file, trusted on the socket alone while it prepares itself.
        run(binaries / "initdb", "-D", data / "cluster", "-U", "postgres", f"--pwfile={self.secrets}/postgres/superuser", "--locale=C.UTF-8", "--encoding=UTF8", "--auth-host=scram-sha-256", "--auth-local=trust", "--no-sync")
        options = f"-c fsync=off -c unix_socket_directories={socket} -c listen_addresses={self.postgres} -c port=5432"
        run(binaries / "pg_ctl", "-D", data / "cluster", "-w", "-l", data / "log", "-o", options, "start")
        self.processes.append(lambda: run(binaries / "pg_ctl", "-D", data / "cluster", "-m", "immediate", "stop"))
        near = {"PATH": f"{binaries}:{os.environ['PATH']}", "PGHOST": str(socket), "POSTGRES_USER": "postgres", "SLUICE_PASSWORD_FILE": f"{self.secrets}/postgres/sluice"}
        run(binaries / "psql", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-f", self.readable(ROOT / "infra/postgres/roles.sql"), env=near)
        run("bash", self.readable(ROOT / "infra/compose/postgres.sh"), env=near)
        redis = subprocess.Popen([redis_server(self.base), f"{self.secrets}/redis/redis.conf", "--bind", self.redis, "--port", "6379", "--dir", data], stdout=log, stderr=log, **run_as(STORES))
        self.processes.append(lambda: (redis.kill(), redis.wait()))

    def readable(self, path):
        """A copy where every user may read it, whatever the folder of the checkout is closed to."""
        copy = self.base / path.name
        shutil.copy(path, copy)
        copy.chmod(0o644)
        return copy

    def end(self):
        for end in reversed(self.processes):
            end()


class Mail(threading.Thread):
    """Takes mails at port 1025, as the compose file's mail service does."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.listener, self.mails = socket.create_server((address, 1025)), []
        self.start()

    def run(self):
        while True:
            peer = self.listener.accept()[0].makefile("rwb", 0)
            peer.write(b"220 mail\r\n")
            while line := peer.readline():
                if line.upper().startswith(b"DATA"):
                    peer.write(b"354 go on\r\n")
                    self.mails.append(email.message_from_bytes(b"".join(iter(peer.readline, b".\r\n"))))
                peer.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")


def check_sign_up(console, mail):
    """A person who asks for it gets a mail with a link to the console, as the compose file is started."""
    asked = http.client.HTTPConnection(console.address, 7301, timeout=10)
    public = console.environment["SLUICE_PUBLIC_URL"]
    headers = {"Host": public.removeprefix("http://"), "Origin": public, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    asked.request("POST", "/sign-up", "email=ada%40example.com", headers)
    answer = asked.getresponse()
    assert answer.status == 200, f"sign-up is answered with {answer.status}: {answer.read()[:300]}"
    until("the mail with the link arrives", lambda: mail.mails)
    text = "".join(part.get_payload(decode=True).decode() for part in mail.mails[0].walk() if not part.is_multipart())
    assert f"{public}/sign-up/" in text, text


def redis_server(base):
    found = program("redis-server")
    if found:
        return found
    # Debian's redis-tools holds the server too; it goes by the name it is called.
    (base / "redis-server").symlink_to(program("redis-check-rdb"))
    return base / "redis-server"


def seconds(text):
    return sum(int(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in re.findall(r"(\d+)([smh])", str(text)))


def of_compose(model, stores, base):
    planes = []
    for number, (name, service) in enumerate(sorted(model["services"].items())):
        command = service.get("command") or []
        if command[:1] not in (["control-plane"], ["data-plane"]):
            continue
        plane = Plane(name, f"127.0.83.{number + 10}", command, service["environment"], seconds(service["stop_grace_period"]))
        for volume in service["volumes"]:
            source = volume["source"]
            folder = stores.secrets / source.removesuffix("-secrets") if source.endswith("-secrets") else base / source
            plane.mounts[volume["target"]] = own(folder)
        assert service["healthcheck"]["test"] == ["CMD", "/usr/bin/sluice", "ready"], name
        planes.append(plane)
    return planes


def own(folder):
    folder.mkdir(exist_ok=True, mode=0o711)
    if IS_ROOT and folder.parent.name != "secrets":
        os.chown(folder, PLANES, PLANES)
    return folder


def of_kubernetes(documents, stores, base):
    by_kind = lambda kind: {one["metadata"]["name"]: one for one in documents if one["kind"] == kind}
    settings = {name: one["data"] for name, one in by_kind("ConfigMap").items()}
    fewest = {one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"] for one in by_kind("HorizontalPodAutoscaler").values()}
    planes, workloads = [], {**by_kind("Deployment"), **by_kind("StatefulSet")}
    for name, workload in sorted(workloads.items()):
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        if container.get("args", [""])[0] not in ("control-plane", "data-plane"):
            continue
        for index in range(fewest.get(name, workload["spec"].get("replicas", 1))):
            address = f"127.0.84.{len(planes) + 10}"
            environment = {}
            for source in container["envFrom"]:
                environment |= settings.get(source.get("configMapRef", {}).get("name"), {})
            for variable in container.get("env", []):
                fields = {"metadata.labels['apps.kubernetes.io/pod-index']": str(index), "metadata.name": f"{name}-{index}"}
                value = variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
                environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], value)
            plane = Plane(f"{name}-{index}", address, container["args"], environment, pod["terminationGracePeriodSeconds"])
            plane.probes = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
            plane.ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            plane.mounts = {one["mountPath"]: volume(pod, one["name"], base / f"{name}-{index}", stores) for one in container["volumeMounts"]}
            planes.append(plane)
    return planes


def volume(pod, name, base, stores):
    folder = base / name
    folder.mkdir(parents=True, mode=0o711)
    base.chmod(0o711)
    projected = next((one["projected"] for one in pod.get("volumes", []) if one["name"] == name and "projected" in one), None)
    if not projected:
        return own(folder)
    kinds = {"database-url": "database-url", "redis-url": "redis-url"}
    for source in projected["sources"]:
        plane = "control-plane" if "control-plane" in source["secret"]["name"] else "node"
        for item in source["secret"]["items"]:
            made = stores.secrets / plane / (kinds.get(item["key"]) or f"keys/{item['key']}")
            text = b"smtp://127.0.0.1:1025" if item["key"] == "smtp-url" else made.read_bytes()
            path = folder / item["path"]
            path.parent.mkdir(exist_ok=True, mode=0o711)
            path.write_bytes(text)
            # As the kubelet mounts it: root's, and by fsGroup the group's, with the mode of the volume.
            if IS_ROOT:
                os.chown(path, 0, pod["securityContext"]["fsGroup"])
            path.chmod(projected["defaultMode"] if IS_ROOT else 0o400)
    return folder


def answers(address, port, path):
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
            return answer.status == 200 and answer.read().decode()
    except OSError:
        return False


def check_runs(planes, hosts, log, mail):
    for plane in planes:
        plane.start(hosts, log)
    until("the planes are ready: " + ", ".join(plane.name for plane in planes), lambda: all(plane.is_ready() for plane in planes))
    names = set()
    for plane in planes:
        internal = plane.environ(hosts)["SLUICE_INTERNAL_LISTEN"].rsplit(":", 1)[1]
        for kind, probe in getattr(plane, "probes", {}).items():
            assert answers(plane.address, plane.ports[probe["port"]], probe["path"]), f"{plane.name} answers its {kind}"
        names |= set(re.findall(r"^(sluice_\w+)", answers(plane.address, internal, "/metrics"), re.M))
        held = {path.name for folder in plane.mounts.values() for path in folder.rglob("*.key")}
        may = {"master.key", "signing.key", "checkpoint.key"} if plane.command == ["control-plane"] else {"master.key"}
        assert held == may, f"{plane.name} holds {held}"
    until("a control plane takes records in", lambda: any("sluice_ingest_lag_seconds{" in (answers(p.address, "7305", "/metrics") or "") for p in planes))
    until("nodes know the configuration", lambda: all("sluice_blind 0" in (answers(p.address, "7311", "/metrics") or "") for p in planes if p.command == ["data-plane"]))
    if mail:
        check_sign_up(next(plane for plane in planes if plane.command == ["control-plane"]), mail)
    began = time.monotonic()
    for plane in planes:
        plane.process.send_signal(signal.SIGTERM)
    for plane in planes:
        code, took = plane.process.wait(plane.grace), time.monotonic() - began
        assert code == 0, f"{plane.name} ended with {code}"
        leave = int(plane.environment.get("SLUICE_LEAVE_S", 0))
        assert leave + 20 < plane.grace, f"{plane.name} is given {plane.grace} s to end and may need {leave + 20}"
        print(f"{plane.name} was ready, and ended in {took:.1f} s of {plane.grace}")
    return names


def main():
    kind, path = sys.argv[1:]
    # The addresses and ports are fixed: one run at a time.
    turn = open(f"{tempfile.gettempdir()}/sluice-infra-{os.geteuid()}.lock", "w")
    fcntl.flock(turn, fcntl.LOCK_EX)
    base = pathlib.Path(tempfile.mkdtemp(prefix="sluice-infra-"))
    base.chmod(0o711)
    stores = Stores(base, *(("127.0.83.2", "127.0.83.3") if kind == "compose" else ("127.0.84.2", "127.0.84.3")))
    planes = []
    with open(base / "log", "wb") as log:
        try:
            stores.set_up()
            stores.start(log)
            text = pathlib.Path(path).read_text()
            planes = of_compose(json.loads(text), stores, base) if kind == "compose" else of_kubernetes(list(yaml.safe_load_all(text)), stores, base)
            hosts = {plane.name: plane.address for plane in planes}
            hosts |= {"sluice-node-internal": next(plane.address for plane in planes if plane.command == ["data-plane"])}
            mail = None
            if kind == "compose":
                hosts["mail"] = "127.0.83.4"
                mail = Mail(hosts["mail"])
            names = check_runs(planes, hosts, log, mail)
            if os.environ.get("METRICS"):
                pathlib.Path(os.environ["METRICS"]).write_text("\n".join(sorted(names)))
        except BaseException:
            log.flush()
            sys.stderr.write((base / "log").read_text(errors="replace")[-6000:])
            raise
        finally:
            for plane in planes:
                if plane.process and plane.process.poll() is None:
                    plane.process.kill()
                    plane.process.wait()
            stores.end()
            shutil.rmtree(base, ignore_errors=True)


main()
