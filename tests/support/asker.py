"""Asks a credential server as systemd would, from whatever unit and for whomever its arguments say.

    asker.py SOCKET UNIT ID [NUMBER [WAITS]]

It opens NUMBER connections, reads the first byte of each, waits until the file WAITS is gone, reads on,
and prints the bytes of the last answer, and how many of them are not NUL.
"""

import os
import socket
import sys
import time


def main(path: str, unit: str, credential: str, number: str = "1", waits: str = "") -> None:
    """Ask, and say what came."""
    connections = []
    for count in range(int(number)):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.bind(f"\0{os.getpid() * 1000 + count:x}/unit/{unit}/{credential}")
        connection.connect(path)
        connections.append(connection)
    data = connections[-1].recv(1)
    os.write(1, b"asked\n")
    while waits and os.path.exists(waits):
        time.sleep(0.05)
    while piece := connections[-1].recv(1 << 20):
        data += piece
    os.write(1, f"got {len(data)} bytes, {len(data) - data.count(0)} not NUL\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
