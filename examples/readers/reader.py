"""A feed's lists from Redis (pip install redis); docs/cache.md has the keys."""
import hashlib, json, time
from packed import unpack  # not needed for json
FIELDS = ["format", "k", "buckets", "lists"]
class Feed:
    def __init__(self, redis, name): self.redis, self.keys, self.until = redis, f"rec:{name}:", 0

    def lookup(self, id, k=None, segment=None, category=None):
        """(release, arm, source, entries), the best first; None where nothing is live."""
        if time.monotonic() > self.until:  # what is live may be 5 s old
            pipe = self.redis.pipeline(transaction=False).get(self.keys + "live")
            self.head, self.about = pipe.hget("{%slive}:head" % self.keys, "split").execute(), {}
            self.until = time.monotonic() + 5
        live, split = ((value or b"").decode() for value in self.head)
        groups = [("segment", segment), ("category", category)]
        tries = [("list", "_" + id if id.startswith("_") else id), ("default", "_default")]
        tries[1:1] = [(group, f"_{group}:{value}") for group, value in groups if value]
        for release, arm in arms(split, id, live) + [(live, None)]:
            about = self.about.get(release) or self.redis.hmget(f"{self.keys}{release}:_meta", FIELDS)
            self.about[release], (format, usual, buckets, shared) = about, about
            keys = f"{self.keys}{shared.decode() if shared else release}:"
            pipe = self.redis.pipeline(transaction=False).smembers("{%slive}:hidden" % self.keys)
            if buckets: pipe.hget(f"{keys}_b:{hash(id) * int(buckets) >> 32}", id)  # compact
            for _, name in tries[1 if buckets else 0:]: pipe.get(keys + name)
            hidden, *lists = pipe.execute()
            for (source, _), list in zip(tries, lists):
                if list is not None and format is not None:
                    entries = json.loads(list) if format.startswith(b"json") else unpack(list)
                    ids = [entry[0] if b"scored" in format else entry for entry in entries]
                    shown = [entry for id, entry in zip(ids, entries) if id.encode() not in hidden]
                    return int(release), arm, source, shown[:int(usual) if k is None else k]

def hash(text): return int(hashlib.sha1(text.encode()).hexdigest()[:8], 16)

def arms(split, id, live):  # such as `salt A=42:90 B=live:10`
    salt, *arms = split.replace("=", ":").split() or [""]
    place = hash(f"{salt}:{id}") * sum(int(arm.split(":")[2]) for arm in arms) >> 32
    for name, release, share in (arm.split(":") for arm in arms):
        if (place := place - int(share)) < 0: return [(live if release == "live" else release, name)]
    return []
