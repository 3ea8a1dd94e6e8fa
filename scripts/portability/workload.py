# SPDX-License-Identifier: Apache-2.0
"""What an image with Python does; nothing that it prints is the kernel's."""

import asyncio
import hashlib
import json
import mmap
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading

print(sys.version_info[:2], os.getuid(), os.getcwd())
print(hashlib.sha256(json.dumps(list(range(10000))).encode()).hexdigest())

totals: list[int] = []
threads = [threading.Thread(target=lambda n=n: totals.append(n * n)) for n in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(totals))
print(subprocess.run(["sh", "-c", "echo $((6 * 7)); exit 3"], capture_output=True, check=False))

with tempfile.TemporaryFile() as file:
    file.truncate(1 << 20)
    with mmap.mmap(file.fileno(), 1 << 20) as memory:
        memory[4096:4100] = b"data"
    file.seek(4096)
    print(file.read(4))

base = sqlite3.connect(":memory:")
base.execute("create table t (n)")
base.executemany("insert into t values (?)", [(n,) for n in range(100)])
print(base.execute("select sum(n) from t").fetchall())


async def echo() -> bytes:
    """Send something through the loopback interface and back."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"there and back\n")
    line = await reader.readline()
    writer.close()
    server.close()
    return line


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


print(asyncio.run(echo()))
left, right = socket.socketpair()
left.send(b"pair")
print(right.recv(4))
