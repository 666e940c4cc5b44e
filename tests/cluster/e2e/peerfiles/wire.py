"""Standard input to HOST PORT, and back to standard output: a conversation that a test types line by line."""

import os
import socket
import sys
import threading


def back(peer: socket.socket) -> None:
    while block := peer.recv(65536):
        os.write(1, block)
    os.write(1, b"(closed)\r\n")


with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as peer:
    peer.settimeout(None)
    threading.Thread(target=back, args=(peer,), daemon=True).start()
    while block := os.read(0, 65536):
        peer.sendall(block)
