"""A feed's lists from Redis (pip install redis); docs/cache.md has the keys."""
import hashlib, json, time
from packed import unpack  # not needed for json

class Feed:
    def __init__(self, redis, name):
        self.redis, self.keys, self.until = redis, f"rec:{name}:", 0

    def lookup(self, id, k=None, segment=None, category=None):
        """(release, arm, source, entries), the best first; None where nothing is live."""
        if time.monotonic() > self.until:  # what is live may be 5 s old
            pipe = self.redis.pipeline(transaction=False).get(self.keys + "live")
            self.head = pipe.hget("{%slive}:head" % self.keys, "split").execute()
            self.until = time.monotonic() + 5
        live, split = ((value or b"").decode() for value in self.head)
        tries = [("list", "_" + id if id.startswith("_") else id), ("default", "_default")]
        if category: tries.insert(1, ("category", f"_category:{category}"))
        if segment: tries.insert(1, ("segment", f"_segment:{segment}"))
        for release, arm in arms(split, id, live) + [(live, None)]:
            pipe = self.redis.pipeline(transaction=False).smembers("{%slive}:hidden" % self.keys)
            pipe.hmget(f"{self.keys}{release}:_meta", "format", "k")
            for _, name in tries: pipe.get(f"{self.keys}{release}:{name}")
            hidden, (format, usual), *lists = pipe.execute()
            for (source, _), list in zip(tries, lists):
                if list is not None and format is not None:
                    entries = json.loads(list) if format.startswith(b"json") else unpack(list)
                    id_of = (lambda entry: entry[0]) if b"scored" in format else (lambda entry: entry)
                    shown = [entry for entry in entries if id_of(entry).encode() not in hidden]
                    return int(release), arm, source, shown[:int(usual) if k is None else k]

def arms(split, id, live):  # such as `salt A=42:90 B=live:10`
    salt, *arms = split.replace("=", ":").split() or [""]
    arms = [arm.split(":") for arm in arms]
    hash = int(hashlib.sha1(f"{salt}:{id}".encode()).hexdigest()[:8], 16)
    place = hash * sum(int(share) for _, _, share in arms) >> 32
    for name, release, share in arms:
        place -= int(share)
        if place < 0: return [(live if release == "live" else release, name)]
    return []
