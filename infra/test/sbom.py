#!/usr/bin/env python3
"""Says whether a bill of materials is whole: sbom.py FILE. It must be CycloneDX, name every crate that cargo builds into the
program or to build it, each as Cargo.lock has it, and say of each what its licence is."""
import json
import re
import subprocess
import sys
import tomllib

bill = json.load(open(sys.argv[1]))
assert bill["bomFormat"] == "CycloneDX", "no CycloneDX"
assert bill["metadata"]["component"]["name"] == "sluice", "not of the program"
named = {(one["name"], one["version"]) for one in bill["components"]}
lock = tomllib.load(open("Cargo.lock", "rb"))["package"]
locked = {(one["name"], one["version"]) for one in lock}
tree = subprocess.run(
    ["cargo", "tree", "--locked", "-p", "sluice", "-e", "normal,build", "--prefix", "none", "--format", "{p}"],
    capture_output=True, text=True, check=True).stdout
built = set(re.findall(r"^(\S+) v(\S+)", tree, re.M)) - {("sluice", bill["metadata"]["component"]["version"])}
assert len(built) > 200, f"only {len(built)} crates are built"
assert not built - named, f"missing: {sorted(built - named)}"
assert not named - locked, f"not in Cargo.lock: {sorted(named - locked)}"
without = [one["name"] for one in bill["components"] if not one.get("licenses")]
assert not without, f"without a licence: {without}"
hashes = {(one["name"], one["version"]): one.get("checksum") for one in lock}
for one in bill["components"]:
    want = hashes[one["name"], one["version"]]
    have = {each["content"] for each in one.get("hashes", [])}
    assert not want or not have or want in have, f"{one['name']} has another hash than in Cargo.lock"
print(f"{len(named)} crates, all {len(built)} that are built among them")
