"""Serves a folder over HTTP with ranges and ETags, and as badly as the query asks for.

cut=N      breaks off after N bytes of a body; with `once` only the first time
busy=N     answers the first N requests with 503
norange    knows no ranges
notag      tells nothing that a resume could use
change     is another file every time
silent     never answers

What is posted to it is checked as a web-hook, by the specification's own library, with the secret
that the query gives; GET /received?PATH tells what came.
"""

import hashlib
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

import standardwebhooks

folder, place = sys.argv[1:3]
requests = {}
received = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        wishes = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        requests[self.path] = requests.get(self.path, 0) + 1
        if path == "/received":
            messages = received.get(urllib.parse.unquote(query), [])
            return self.answer(200, json.dumps(messages).encode(), {})
        if path == "/requests":
            return self.answer(200, str(requests.get(urllib.parse.unquote(query), 0)).encode(), {})
        if "silent" in wishes:
            time.sleep(3600)
        if requests[self.path] <= int(wishes.get("busy", 0)):
            return self.answer(503, b"later", {})
        try:
            with open(os.path.join(folder, path.lstrip("/")), "rb") as file:
                body = file.read()
        except OSError:
            return self.answer(404, b"", {})
        tag = hashlib.md5(body).hexdigest()
        if "change" in wishes:
            tag += str(requests[self.path])
        headers = {} if "notag" in wishes else {"ETag": f'"{tag}"'}
        status = 200
        wanted = self.headers.get("Range")
        if wanted and "norange" not in wishes and self.headers.get("If-Range") == f'"{tag}"':
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            body = body[first:]
            status = 206
        isCut = "cut" in wishes and ("once" not in wishes or requests[self.path] == 1)
        self.answer(status, body, headers, int(wishes["cut"]) if isCut else len(body))

    def do_POST(self):
        path, _, query = self.path.partition("?")
        wishes = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        requests[self.path] = requests.get(self.path, 0) + 1
        message = {"id": self.headers["webhook-id"], "body": json.loads(body), "problem": None}
        if "secret" in wishes:
            try:
                standardwebhooks.Webhook(wishes["secret"]).verify(body, dict(self.headers))
            except standardwebhooks.WebhookVerificationError as error:
                message["problem"] = str(error)
        message["signed"] = "webhook-signature" in self.headers
        received.setdefault(path, []).append(message)
        if "silent" in wishes:
            time.sleep(3600)
        if requests[self.path] <= int(wishes.get("busy", 0)):
            return self.answer(503, b"later", {})
        self.answer(410 if "gone" in wishes else 200, b"", {})

    def answer(self, status, body, headers, most=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:most])
        if most is not None and most < len(body):
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(place + ".new", "w") as file:
    file.write(f"export TEST_WEB=http://127.0.0.1:{server.server_port}\n")
    file.write(f"export TEST_WEB_FOLDER={folder}\n")
os.rename(place + ".new", place)
server.serve_forever()
