"""On PYTHONPATH it cuts the network of every Python process, and writes down who asked for it.

TRICKLE_TEST_SOCKETS names the file: a line for each process that starts, and one for each attempt
to connect, listen or look up a name. Sockets within the machine that have no address (AF_UNIX),
which data workers use, pass.
"""

import errno
import os
import sys

_REFUSED = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}


def write(line: str) -> None:
    file = os.open(os.environ["TRICKLE_TEST_SOCKETS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in _REFUSED and not isinstance(arguments[1], tuple):
        return  # AF_UNIX: a path; AF_NETLINK and the like have tuples, too
    if event in _REFUSED or event in _LOOKUPS:
        write(f"{event} {arguments[1:] if event in _REFUSED else arguments}")
        raise OSError(errno.ENETUNREACH, "the test has cut the network")


if "TRICKLE_TEST_SOCKETS" in os.environ:
    write(f"started {' '.join(sys.orig_argv[1:])}")
    sys.addaudithook(hook)
