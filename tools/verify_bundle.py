#!/usr/bin/env python3
"""Verifies a bundle of a Sluice audit log, by the rules of docs/audit-bundle.md: a second opinion beside `sluice audit verify`.

    verify_bundle.py BUNDLE VKEY[,VKEY...] [OLD_CHECKPOINT]

Each checkpoint is to be signed by one of the keys. BUNDLE is plain (`zstd -dc bundle.ndjson.zst | verify_bundle.py - VKEY`). Exits with 0, or with 10 and the number of the
first check that fails. Needs Python 3.8 and nothing else.
"""
import base64, hashlib, hmac, json, re, sys
from datetime import datetime, timedelta

SIGNATURES, LEAVES, ROOT, CONSISTENCY, SEQUENCE, COUNTERS, FINALS, TIMES = range(1, 9)
TAILED = re.compile(rb'\{"(seq|of)":(0|[1-9][0-9]*),"(leaf|key)":"([A-Za-z0-9+/]{43}=)","(record|pii)":(.*)\}', re.S)
faults = {}
present = [0]  # the epoch that is read


def fails(check, seq, what, epoch=None):
    faults.setdefault(check, (present[0] if epoch is None else epoch, seq, what))


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


def open_note(note, vkeys):
    """Origin, size and root of a checkpoint that one of the keys has signed."""
    vkeys = [vkey.strip().split("+", 2) for vkey in vkeys.split(",")]
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    for line in signatures.splitlines():
        _, signer, signature = line.split(" ", 2)
        signature = b64(signature)
        for name, key_id, key in vkeys:
            if signer == name and signature[:4].hex() == key_id and is_signed(b64(key)[1:], text.encode(), signature[4:]):
                return origin, int(size), b64(root)
    raise ValueError("the checkpoint is not signed by a key of the log")


def typed(kind, is_one=lambda value: True):
    def read(value):
        if type(value) is not kind or not is_one(value):
            raise ValueError("of another type")
        return value
    return read


def ident(prefix):
    return typed(str, re.compile(prefix + "_[0-7][0-9a-hjkmnp-tv-z]{25}").fullmatch)


TEXT, FLAG, NUMBER = typed(str), typed(bool), typed(int, lambda value: 0 <= value < 1 << 64)


def when(text):
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", TEXT(text)):
        raise ValueError("not a time")
    return datetime.fromisoformat(text[:-1])


RUN = {"node": ident("node"), "boot": ident("boot")}
LOOKED_AT = {
    "kind": TEXT, "final": FLAG, "time": when, "time_forwarded": when, "time_end": when, "pii_commit": TEXT,
    "tenant": {"id": ident("ten")}, "gw": {**RUN, "n": NUMBER}, "amends": {"seq": NUMBER}, "outcome": {"status": TEXT},
    "source": {**RUN, "clean": FLAG, "last_n": NUMBER, "complete_n": NUMBER},
    "epoch": {"recovered": {"epoch": NUMBER, "size": NUMBER, "root": TEXT}},
}


def read(value, of=LOOKED_AT):
    """What is looked at of a record. A value that is `null` is not there."""
    if not isinstance(of, dict):
        return of(value)
    there = [member for member in of if member in typed(dict)(value)]
    there = [member for member in there if value[member] is not None or isinstance(of[member], dict)]
    return {member: read(value[member], of[member]) for member in there}


class Records:
    """Checks 6 to 8, and what is remembered for them."""
    def __init__(self):
        self.first, self.is_later, self.runs, self.unknown, self.owner = None, False, {}, set(), None

    def take(self, seq, record):
        if self.first is None:
            self.first, self.is_whole = seq, seq == 0 and present[0] <= 1
        gw, source, kind = record.get("gw", {}), record.get("source", {}), record["kind"]
        is_told_of = RUN.keys() <= source.keys()
        if RUN.keys() | {"n"} <= gw.keys():
            run = self.run(gw)
            if record["final"] or kind not in ("call", "open"):
                run["seen"].add(gw["n"])
            if record["final"]:
                if gw["n"] in run["finals"]:
                    fails(FINALS, seq, "a second final record of its call")
                run["finals"].add(gw["n"])
        if kind == "gap" and is_told_of:
            self.run(source)["gap"] = True
        elif kind in ("mark", "boot_end") and is_told_of:
            self.compare(seq, source)
        elif kind == "late":
            amended = record.get("amends", {}).get("seq")
            is_before = not self.is_whole and (self.is_later or (amended or 0) < self.first)
            if amended is None or not (is_before or amended in self.unknown):
                fails(FINALS, seq, "amends a final record that is not unknown")
            self.unknown.discard(amended)
        elif record["final"] and record.get("outcome", {}).get("status") == "unknown":
            self.unknown.add(seq)
        self.times(seq, kind, record)

    def run(self, of):
        fresh = {"seen": set(), "finals": set(), "from": 0 if self.is_whole else None, "gap": False}
        return self.runs.setdefault((of["node"], of["boot"]), fresh)

    def compare(self, seq, source):
        end = source.get("complete_n", source["last_n"] + 1 if "last_n" in source else None)
        if end is None:
            return
        run = self.run(source)
        lost = None if run["from"] is None else next((n for n in range(run["from"], end) if n not in run["seen"]), None)
        if lost is not None and source.get("clean") is not False:
            if not run["gap"]:
                fails(COUNTERS, seq, f"{source['node']} gave the number {lost} to a record that is not in the log")
            run["gap"] = False
        run["from"] = max(run["from"] or 0, end)
        run["seen"] = {n for n in run["seen"] if n >= run["from"]}

    def times(self, seq, kind, record):
        allowed = timedelta(seconds=10)
        within = [record[name] for name in ("time", "time_forwarded", "time_end") if name in record]
        if any(earlier - later > allowed for earlier, later in zip(within, within[1:])):
            fails(TIMES, seq, "ends before it begins")
        if kind in ("mark", "heartbeat", "boot_end", "gap", "gap_filled") and "time" in record:
            self.owner = max(self.owner or record["time"], record["time"])
            if self.owner - record["time"] > allowed:
                fails(TIMES, seq, "was written before the one that it follows")


def named(origin):
    """The name of a log without its epoch, and the epoch."""
    name, _, epoch = origin.rpartition("/")
    return (name, int(epoch)) if epoch.isdigit() else (origin, 0)


class Bundle:
    """What is read of a bundle: the present epoch's tree, and what is remembered of those before."""
    def __init__(self, header, vkey, old):
        self.origin, self.tenant, self.vkey, self.old = header["origin"], header["tenant"], vkey, old
        self.records, self.has_holes, self.has_compared, self.commitment, self.any_good = Records(), False, False, None, False
        self.before = None
        self.begin(header["origin"])

    def begin(self, origin):
        self.origin, present[0] = origin, named(origin)[1]
        self.tree, self.good, self.ended, self.last, self.then = Tree(), 0, None, None, None
        self.look_back()

    def look_back(self):
        if self.old and self.old[0] == self.origin and self.old[1] == self.tree.size:
            self.then = self.tree.root()

    def line(self, line):
        tailed = TAILED.fullmatch(line)
        if tailed and (tailed[1], tailed[3], tailed[5]) == (b"seq", b"leaf", b"record"):
            self.record(int(tailed[2]), b64(tailed[4].decode()), tailed[6])
        elif tailed and (tailed[1], tailed[3], tailed[5]) == (b"of", b"key", b"pii"):
            tag = base64.urlsafe_b64encode(hmac.digest(b64(tailed[4].decode()), tailed[6], "sha256")).decode().rstrip("=")
            if self.commitment != (int(tailed[2]), "hs256:" + tag):
                fails(LEAVES, int(tailed[2]), "the record does not commit to its personal part")
            self.commitment = None
        elif line.startswith(b'{"covered":'):
            covered = json.loads(line)
            (first, end), hashes = covered["covered"], covered["hashes"]
            levels = list(cover(first, end))
            if first != self.tree.size or not levels or len(levels) != len(hashes) or self.before:
                raise ValueError(f"leaves from {first} on are left out where {self.tree.size} belongs")
            for level, root in zip(levels, hashes):
                self.tree.append(level, b64(root))
                self.look_back()
        elif line.startswith(b'{"checkpoint":'):
            self.checkpoint(json.loads(line)["checkpoint"])
        elif line.startswith(b'{"epoch":'):
            self.next_epoch(json.loads(line)["epoch"])
        else:
            raise ValueError("a line that is none of a bundle stands here")

    def record(self, seq, leaf, body):
        if seq != self.tree.size:
            raise ValueError(f"record {seq} stands where record {self.tree.size} belongs")
        self.has_holes, self.last = self.has_holes or (self.last is not None and self.last + 1 != seq), seq
        if hashlib.sha256(b"\0" + body).digest() != leaf:
            fails(LEAVES, seq, "the record does not have the hash that stands beside it")
        self.tree.append(0, leaf)
        self.look_back()
        try:
            record = read(json.loads(body))
            if not {"kind", "final"} <= record.keys():
                raise ValueError("it does not say what it is")
        except (ValueError, RecursionError):
            self.before = None
            return fails(LEAVES, seq, "this is not a record of an audit log")
        self.goes_on_from(seq, record)
        if record.get("tenant", {}).get("id") != self.tenant:
            fails(ROOT, seq, "the record is of another tenant")
        self.records.take(seq, record)
        self.commitment = (seq, record.get("pii_commit"))

    def checkpoint(self, note):
        size = self.tree.size
        try:
            origin, signed, root = open_note(note, self.vkey)
        except (ValueError, KeyError) as error:
            return fails(SIGNATURES, size, str(error))
        self.ended = size
        if origin != self.origin:
            fails(ROOT, size, "the checkpoint is of another log")
        elif signed != size:
            fails(ROOT, min(signed, size), f"the checkpoint for {signed} leaves stands after {size}")
        elif root != self.tree.root():
            fails(ROOT, self.good, f"the leaves from {self.good} to {size} do not add up to the checkpoint")
        else:
            self.good, self.any_good = size, True

    def next_epoch(self, origin):
        (name, epoch), (was, before) = named(origin), named(self.origin)
        if name != was or epoch <= before or self.before:
            raise ValueError("this epoch does not follow the one before")
        self.compare(self.tree.size)
        self.before = (before, self.tree, self.good)
        self.records.is_later = self.records.first is not None
        self.begin(origin)

    def goes_on_from(self, seq, record):
        """The first record of an epoch says with what the one before ended, and so proves its end."""
        said = record.get("epoch", {}).get("recovered", {})
        if seq == 0 and present[0] > 1 and record["kind"] != "epoch":
            fails(ROOT, 0, "the record does not say what the epoch goes on from")
        elif self.before:
            epoch, tree, good = self.before
            if said.get("epoch") != epoch:
                fails(ROOT, 0, "the record does not say what the epoch goes on from")
            elif said.get("size") != tree.size:
                fails(SEQUENCE, min(said.get("size", tree.size), tree.size), "not the end the next epoch goes on from", epoch)
            elif said.get("root") != base64.b64encode(tree.root()).decode():
                fails(ROOT, good, "not the leaves the next epoch goes on from", epoch)
        self.before = None

    def compare(self, size):
        """Compares the checkpoint that was kept with the epoch that ends here."""
        if self.old and self.old[0] == self.origin:
            self.has_compared = True
            if self.old[1] > size:
                fails(CONSISTENCY, size, "the log was set back")
            elif self.then is None:
                fails(CONSISTENCY, self.old[1], "the checkpoint kept before is inside of what the bundle leaves out")
            elif self.then != self.old[2]:
                fails(CONSISTENCY, 0, "the first leaves are not those that were signed before")


def verify(lines, vkey, old):
    header = json.loads(next(lines))
    if header["bundle"] != "sluice.audit-bundle/1":
        sys.exit("this is not an audit bundle")
    bundle = Bundle(header, vkey, old)
    is_broken = False
    for line in lines:
        try:
            bundle.line(line.rstrip(b"\n"))
        except (ValueError, KeyError, TypeError) as error:
            fails(SEQUENCE, bundle.tree.size, str(error))
            is_broken = True
            break
    else:
        if bundle.ended != bundle.tree.size and SIGNATURES not in faults or bundle.before:
            fails(SEQUENCE, bundle.tree.size, "the bundle ends without a checkpoint: its end is cut off")
            is_broken = True
    if bundle.has_holes or is_broken:
        faults.pop(COUNTERS, None), faults.pop(FINALS, None)
    if old and bundle.any_good:
        bundle.compare(bundle.good)
        if not bundle.has_compared:
            fails(CONSISTENCY, 0, "the checkpoint kept before is of another log, or of an epoch that is not here")
    return bundle.tree.size


if __name__ == "__main__":
    bundle, vkey = sys.argv[1:3]
    kept = open_note(open(sys.argv[3], encoding="utf-8").read(), vkey) if len(sys.argv) > 3 else None
    leaves = verify(sys.stdin.buffer if bundle == "-" else open(bundle, "rb"), vkey, kept)
    for check, (epoch, seq, what) in sorted(faults.items()):
        print(f"{check} FAILS at {seq} of epoch {epoch}: {what}")
    print("does not hold" if faults else f"holds: {leaves} leaves")
    sys.exit(10 + min(faults) if faults else 0)
