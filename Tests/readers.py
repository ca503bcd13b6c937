"""Asks examples/readers/reader.py: questions in JSON on standard input, answers on standard output."""
import json, sys
sys.path.insert(0, "examples/readers")
import redis
from reader import Feed

asked = json.load(sys.stdin)
if asked["cluster"]:
    client = redis.RedisCluster(host="127.0.0.1", port=asked["cluster"][0])
else:
    client = redis.Redis(unix_socket_path=asked["socket"])
feeds, answers = {}, []
for question in asked["questions"]:
    name = question.pop("feed")
    feed = feeds.setdefault(name, Feed(client, name))
    found = feed.lookup(**question)
    answers.append(found and dict(zip(("release", "arm", "source", "entries"), found)))
json.dump(answers, sys.stdout)
