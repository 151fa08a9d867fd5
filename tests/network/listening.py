"""Started by torchrun: prints, as JSON, the addresses on which this process listens."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from pathlib import Path


def listening() -> list[str]:
    """Addresses of the TCP sockets of this process that listen, from the kernel's table."""
    own = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))
        except OSError:
            continue
        own |= {found[1]} if found else set()
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/self/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in own:
                addresses.append(str(_address(words[1].partition(":")[0])))
    return addresses


def _address(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Of groups of four bytes, each in the order of the processor."""
    groups = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
    return ipaddress.ip_address(b"".join(groups))


if __name__ == "__main__":
    assert sys.byteorder == "little"
    from engine.processes import process_group, rank

    with process_group():
        import torch
        from torch import distributed

        distributed.all_reduce(torch.ones(1))
        Path(sys.argv[1], f"{rank()}.json").write_text(json.dumps(listening()))
        distributed.barrier()
