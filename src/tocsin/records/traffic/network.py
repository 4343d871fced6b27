"""The generated office: its endpoints by number, their addresses, and the groups they form."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from tocsin.errors import SettingsError
from tocsin.kernels.addresses import ipv4_text

OFFICE = 10 << 24 | 20 << 16  # 10.20.0.0
SERVICES, CLIENTS, SCANNERS, HOSTILE = 4000, 20_000, 300, 256
MIN_HOSTS, MAX_HOSTS = 20, 15_000
_SERVER_GROUPS = ("dns", "file", "mail", "web", "db", "backup", "monitor")
_PUBLIC = np.array(
    [*range(11, 100), *range(101, 127), *range(128, 169), *range(170, 172), *range(173, 192), *range(193, 198)]
)


@dataclass(frozen=True)
class Network:
    """Endpoints by number: the office's own addresses first (number = place in the network), the internet's behind.

    hosts: how many are in the office. seed: decides the internet's addresses.
    """

    hosts: int
    seed: int

    def __post_init__(self) -> None:
        if not MIN_HOSTS <= self.hosts <= MAX_HOSTS:
            raise SettingsError(f"{self.hosts} hosts: {MIN_HOSTS} to {MAX_HOSTS} can be generated")

    @property
    def inside(self) -> int:
        """How many addresses the office's network has."""
        return max(4096, 1 << (4 * self.hosts - 1).bit_length())

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Endpoint numbers of each group: (k,) int32."""
        count = max(9, self.hosts // 12)
        servers = 10 + np.arange(min(count, 200), dtype=np.int32)
        things = _places(512, max(3, self.hosts // 10))
        people = _places(things[-1] // 256 * 256 + 256, max(6, self.hosts - len(servers) - len(things) - 3))
        named = {name: servers[index + 1 : index + 2] for index, name in enumerate(_SERVER_GROUPS)} | {
            "dns": servers[:2]
        }
        outside = self.inside + np.arange(SERVICES + CLIENTS + SCANNERS + HOSTILE, dtype=np.int32)
        services, clients, scanners, hostile = np.split(outside, np.cumsum([SERVICES, CLIENTS, SCANNERS]))
        return {
            **named,
            "servers": servers,
            "apps": servers[8:],
            "dmz": 266 + np.arange(3, dtype=np.int32),
            "things": things,
            "people": people,
            "admins": people[: max(2, len(people) // 30)],
            "services": services,
            "resolvers": services[:4],
            "clouds": services[40:46],
            "telemetry": services[60:72],
            "clients": clients,
            "scanners": scanners,
            "hostile": hostile,
        }

    @cached_property
    def addresses(self) -> np.ndarray:
        """Every endpoint's IPv4 address: (e,) uint32."""
        rng = np.random.default_rng([self.seed, 1])
        many = SERVICES + CLIENTS + SCANNERS + HOSTILE
        numbers = rng.choice(_PUBLIC, 2 * many).astype(np.uint32) << np.uint32(24)
        numbers |= rng.integers(1 << 8, 1 << 24, 2 * many, dtype=np.uint32)
        _, first = np.unique(numbers, return_index=True)
        outside = numbers[np.sort(first)[:many]]
        return np.concatenate([OFFICE + np.arange(self.inside, dtype=np.uint32), outside]).astype(np.uint32)

    @cached_property
    def texts(self) -> pa.Array:
        """Every endpoint's address as text: (e,) string."""
        return ipv4_text(self.addresses)


def _places(first: int, count: int) -> np.ndarray:
    """Return the numbers of so many endpoints from a /24 on, without its first ten addresses and its last."""
    index = np.arange(count, dtype=np.int32)
    return (first + index // 240 * 256 + 10 + index % 240).astype(np.int32)
