#!/usr/bin/env bash
# huggingface_hub 2.4.0: http_stream_backoff turns a body that breaks off into a RuntimeError.
#
# A server closes the connection in the middle of a file. One would guess that reading the body
# raises the transport's error (httpx.RemoteProtocolError), which the caller may catch, or that the
# request is repeated. The context manager catches the error that is raised inside of its own block,
# asks again and yields a second time, which contextlib does not allow: what the caller sees is
# "generator didn't stop after throw()". What to do: read bodies with your own retries around
# it, and treat RuntimeError from it as a broken transfer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
"$folder/env/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from huggingface_hub.utils import http_stream_backoff

asked = 0


class Short(BaseHTTPRequestHandler):
    """Promises 1,000 bytes and sends 10."""

    def do_GET(self):
        global asked
        asked += 1
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"0123456789")

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Short)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/file"
try:
    with http_stream_backoff("GET", address, max_retries=1, base_wait_time=0.1) as response:
        b"".join(response.iter_bytes())
except Exception as error:
    seen = f"{type(error).__name__}: {error}"
server.shutdown()
print(seen, f"after {asked} requests")
assert seen.startswith("RuntimeError: generator didn't stop after throw()"), seen
assert asked == 2
print("seen: a body that breaks off becomes a RuntimeError of contextlib")
PYTHON
