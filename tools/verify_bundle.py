#!/usr/bin/env python3
"""Verifies a bundle of a Sluice audit log, by the rules of docs/audit-bundle.md: a second opinion beside `sluice audit verify`.

    verify_bundle.py BUNDLE VKEY [OLD_CHECKPOINT]

BUNDLE is plain (`zstd -dc bundle.ndjson.zst | verify_bundle.py - VKEY`). Exits with 0, or with 10 and the number of the
first check that fails. Needs Python 3.8 and nothing else.
"""
import base64, hashlib, hmac, json, re, sys
from datetime import datetime, timedelta

SIGNATURES, LEAVES, ROOT, CONSISTENCY, SEQUENCE, COUNTERS, FINALS, TIMES = range(1, 9)
TAILED = re.compile(rb'\{"(seq|of)":(0|[1-9][0-9]*),"(leaf|key)":"([A-Za-z0-9+/]{43}=)","(record|pii)":(.*)\}', re.S)
faults = {}


def fails(check, seq, what):
    faults.setdefault(check, (seq, what))


def b64(text):
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("more than one way to write it")
    return raw


# Ed25519 (RFC 8032, 5.1): points as (x z, y z, z, x y z), so that adding needs no division.
P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def point(raw):
    y, sign = int.from_bytes(raw, "little") & (1 << 255) - 1, raw[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        raise ValueError("not a point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def add(a, b):
    low, high = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    both, scale = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = high - low, scale - both, scale + both, high + low
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, a):
    total = (0, 1, 1, 0)
    while number:
        total, a, number = (add(total, a) if number & 1 else total), add(a, a), number >> 1
    return total


def is_signed(public, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    base = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    hashed = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % ORDER
    a, b = times(s, base), add(point(r), times(hashed, point(public)))
    same = (a[0] * b[2] - b[0] * a[2]) % P == 0 == (a[1] * b[2] - b[1] * a[2]) % P
    return len(signature) == 64 and s < ORDER and same


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The roots of the complete subtrees that make up a tree, the largest first."""
    def __init__(self):
        self.size, self.peaks = 0, []

    def append(self, level, root):
        if self.size % (1 << level):
            raise ValueError("no subtree of that size stands here")
        while self.size >> level & 1:
            root, self.size, level = node(self.peaks.pop(), root), self.size - (1 << level), level + 1
        self.peaks.append(root)
        self.size += 1 << level

    def root(self):
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for left in self.peaks[-2::-1]:
            root = node(left, root)
        return root


def cover(first, end):
    while first < end:
        level = min((first & -first).bit_length() - 1 if first else 64, (end - first).bit_length() - 1)
        yield level
        first += 1 << level


def open_note(note, vkey):
    """Origin, size and root of a checkpoint that the key has signed."""
    name, key_id, key = vkey.strip().split("+", 2)
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    for line in signatures.splitlines():
        _, signer, signature = line.split(" ", 2)
        signature = b64(signature)
        if signer == name and signature[:4].hex() == key_id:
            if is_signed(b64(key)[1:], text.encode(), signature[4:]):
                return origin, int(size), b64(root)
    raise ValueError("the checkpoint is not signed by this key")


def when(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


class Records:
    """Checks 6 to 8, and what is remembered for them."""
    def __init__(self):
        self.first, self.runs, self.unknown, self.owner = None, {}, set(), None

    def take(self, seq, record):
        if self.first is None:
            self.first = seq
        gw, source, kind = record.get("gw", {}), record.get("source", {}), record["kind"]
        if "n" in gw and "node" in gw and "boot" in gw:
            run = self.run(gw)
            run["seen"].add(gw["n"])
            if record["final"]:
                if gw["n"] in run["finals"]:
                    fails(FINALS, seq, "a second final record of its call")
                run["finals"].add(gw["n"])
        if kind == "gap" and "node" in source:
            self.run(source)["gap"] = True
        elif kind in ("mark", "boot_end") and "node" in source:
            self.compare(seq, kind, source)
        elif kind == "late":
            amended = record.get("amends", {}).get("seq")
            if amended is None or (amended >= self.first and amended not in self.unknown):
                fails(FINALS, seq, "amends a final record that is not unknown")
            self.unknown.discard(amended)
        elif record["final"] and record.get("outcome", {}).get("status") == "unknown":
            self.unknown.add(seq)
        self.times(seq, kind, record)

    def run(self, of):
        fresh = {"seen": set(), "finals": set(), "from": 0 if self.first == 0 else None, "gap": False}
        return self.runs.setdefault((of["node"], of["boot"]), fresh)

    def compare(self, seq, kind, source):
        end = source.get("complete_n", source["last_n"] + 1 if "last_n" in source else None)
        if end is None:
            return
        run = self.run(source)
        if run["from"] is not None and not run["gap"] and source.get("clean") is not False:
            lost = next((n for n in range(run["from"], end) if n not in run["seen"]), None)
            if lost is not None:
                fails(COUNTERS, seq, f"{source['node']} gave the number {lost} to a record that is not in the log")
        run["from"], run["gap"] = max(run["from"] or 0, end), False
        if kind == "boot_end":
            del self.runs[source["node"], source["boot"]]

    def times(self, seq, kind, record):
        allowed = timedelta(seconds=10)
        within = [when(record[name]) for name in ("time", "time_forwarded", "time_end") if name in record]
        if any(later < earlier - allowed for earlier, later in zip(within, within[1:])):
            fails(TIMES, seq, "ends before it begins")
        if kind in ("mark", "heartbeat", "boot_end", "gap", "gap_filled") and within:
            if self.owner and within[0] < self.owner - allowed:
                fails(TIMES, seq, "was written before the one that it follows")
            self.owner = max(self.owner or within[0], within[0])


def verify(lines, vkey, old):
    header = json.loads(next(lines))
    if header["bundle"] != "sluice.audit-bundle/1":
        sys.exit("this is not an audit bundle")
    tree, records, commitment = Tree(), Records(), None
    good, ended, then, last, holes = None, None, tree.root() if old and old[1] == 0 else None, None, False
    for line in lines:
        try:
            line = line.rstrip(b"\n")
            tailed = TAILED.fullmatch(line)
            if tailed and (tailed[1], tailed[3], tailed[5]) == (b"seq", b"leaf", b"record"):
                seq, leaf, body = int(tailed[2]), b64(tailed[4].decode()), tailed[6]
                if seq != tree.size:
                    raise ValueError(f"record {seq} stands where record {tree.size} belongs")
                holes, last = holes or (last is not None and last + 1 != seq), seq
                if hashlib.sha256(b"\0" + body).digest() != leaf:
                    fails(LEAVES, seq, "the record does not have the hash that stands beside it")
                tree.append(0, leaf)
                try:
                    record = json.loads(body)
                    if record["tenant"]["id"] != header["tenant"]:
                        fails(ROOT, seq, "the record is of another tenant")
                    records.take(seq, record)
                    commitment = (seq, record.get("pii_commit"))
                except (ValueError, KeyError, TypeError):
                    fails(LEAVES, seq, "this is not a record of an audit log")
            elif tailed and (tailed[1], tailed[3], tailed[5]) == (b"of", b"key", b"pii"):
                tag = base64.urlsafe_b64encode(hmac.digest(b64(tailed[4].decode()), tailed[6], "sha256")).decode().rstrip("=")
                if commitment != (int(tailed[2]), "hs256:" + tag):
                    fails(LEAVES, int(tailed[2]), "the record does not commit to its personal part")
                commitment = None
            elif line.startswith(b'{"covered":'):
                covered = json.loads(line)
                (first, end), hashes = covered["covered"], covered["hashes"]
                levels = list(cover(first, end))
                if first != tree.size or not levels or len(levels) != len(hashes):
                    raise ValueError(f"leaves from {first} on are left out where {tree.size} belongs")
                for level, root in zip(levels, hashes):
                    tree.append(level, b64(root))
                    then = tree.root() if old and old[1] == tree.size else then
            elif line.startswith(b'{"checkpoint":'):
                try:
                    origin, size, root = open_note(json.loads(line)["checkpoint"], vkey)
                    ended = tree.size
                    if origin != header["origin"]:
                        fails(ROOT, tree.size, "the checkpoint is of another log")
                    elif size != tree.size:
                        fails(ROOT, min(size, tree.size), f"the checkpoint for {size} leaves stands after {tree.size}")
                    elif root != tree.root():
                        fails(ROOT, good or 0, f"the leaves from {good or 0} to {size} do not add up to the checkpoint")
                    else:
                        good = size
                except (ValueError, KeyError) as error:
                    fails(SIGNATURES, tree.size, str(error))
            else:
                raise ValueError("a line that is none of a bundle stands here")
        except (ValueError, KeyError, TypeError) as error:
            fails(SEQUENCE, tree.size, str(error))
            break
        then = tree.root() if old and old[1] == tree.size else then
    else:
        if ended != tree.size and SIGNATURES not in faults:
            fails(SEQUENCE, tree.size, "the bundle ends without a checkpoint: its end is cut off")
    if holes or SEQUENCE in faults:
        faults.pop(COUNTERS, None), faults.pop(FINALS, None)
    if old and good is not None:
        if old[0] != header["origin"]:
            fails(CONSISTENCY, 0, "the checkpoint kept before is of another log")
        elif old[1] > good:
            fails(CONSISTENCY, good, "the log was set back")
        elif then is None:
            fails(CONSISTENCY, old[1], "the checkpoint kept before is inside of what the bundle leaves out")
        elif then != old[2]:
            fails(CONSISTENCY, 0, "the first leaves are not those that were signed before")
    return tree.size


if __name__ == "__main__":
    bundle, vkey = sys.argv[1:3]
    kept = open_note(open(sys.argv[3], encoding="utf-8").read(), vkey) if len(sys.argv) > 3 else None
    leaves = verify(sys.stdin.buffer if bundle == "-" else open(bundle, "rb"), vkey, kept)
    for check, (seq, what) in sorted(faults.items()):
        print(f"{check} FAILS at {seq}: {what}")
    print("does not hold" if faults else f"holds: {leaves} leaves")
    sys.exit(10 + min(faults) if faults else 0)
