#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server in the background: other commands talk to it, and it ends with the sandbox."""

import contextlib

import pycontain

SERVER = """
import http.server
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), http.server.SimpleHTTPRequestHandler)
print("ready", flush=True)
server.serve_forever()
"""
CLIENT = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8000/page.txt").read().decode(), end="")
"""


def main() -> None:
    """Start a web server, fetch a page from it, and let everything end."""
    with contextlib.ExitStack() as stack:
        sandbox = stack.enter_context(pycontain.Sandbox())
        sandbox.files.write_text("/tmp/page.txt", "a page of the sandbox's own web server\n")
        server = sandbox.popen(
            ["python3", "-c", SERVER], cwd="/tmp", stdout=pycontain.PIPE, text=True
        )
        stack.callback(server.stdout.close)
        server.stdout.readline()  # "ready"
        print(sandbox.run(["python3", "-c", CLIENT], text=True, check=True).stdout, end="")
        print("the server runs:", server.poll() is None)
        sandbox.close()
        print("it ended with the sandbox:", server.wait(), server.reason)


if __name__ == "__main__":
    main()
