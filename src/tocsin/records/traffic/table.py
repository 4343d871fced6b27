"""Generated flows as canonical records: numbers from the kernel, texts taken from small dictionaries."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tocsin.kernels.addresses import from_ipv4
from tocsin.kernels.buffers import text_array
from tocsin.kernels.traffic import ID_WIDTH, REJ, S0, SHAPE_TYPES, Shapes, shape_flows, write_flow_ids
from tocsin.records.community_id import community_ids
from tocsin.records.flow import FLOW, flow_schema
from tocsin.records.traffic.network import Network
from tocsin.records.traffic.profiles import PROFILES, PROTOCOL_NUMBERS, kinds, shapes

_STATES = ("SF", "S0", "REJ", "RSTO", "RSTR", "S1")
_FIRST_FLAGS = ("Ss", "S", "Sr", "Ss", "Ss", "Ss")
_ALL_FLAGS = ("APSF", "S", "RAS", "APSR", "APSR", "APS")
_TCP, _SERVICE_TEXT = PROTOCOL_NUMBERS["tcp"], tuple(profile.service for profile in PROFILES)
COLUMNS = (
    *("flowid", "stime", "etime", "dur", "rtt", "pcr", "proto", "saddr", "daddr", "sport", "dport", "iflags", "uflags"),
    *("spkts", "dpkts", "sbytes", "dbytes", "sentropy", "dentropy", "ndpi_ja4", "ndpi_ja3s", "community_id", "service"),
    *("conn_state", "orig_bytes", "resp_bytes", "label", "label_detail"),
)
SCHEMA = pa.schema([field for field in flow_schema() if field.name in COLUMNS])


@dataclass(frozen=True)
class Draft:
    """Flows before they have a size: by time, (n,) each.

    order: int64, the row's own number in its slice, whatever stands around it. attack: int32, -1 for benign.
    """

    order: np.ndarray
    time: np.ndarray
    source: np.ndarray
    target: np.ndarray
    profile: np.ndarray
    port: np.ndarray
    attack: np.ndarray


@dataclass(frozen=True)
class Texts:
    """The dictionaries that text columns are taken from; attacks: kind and id of each planted one."""

    network: Network
    attacks: tuple[tuple[str, str], ...]

    def labels(self, attack: np.ndarray) -> tuple[pa.Array, pa.Array]:
        """Return the label and its detail of each row: benign and null where attack is -1."""
        kind = pa.array(["benign", *(kind for kind, _ in self.attacks)])
        name = pa.array([None, *(name for _, name in self.attacks)], pa.string())
        return kind.take(pa.array(attack + 1)), name.take(pa.array(attack + 1))


def build_table(draft: Draft, texts: Texts, *, key: int, number: int) -> pa.Table:
    """Give a slice's flows sizes, texts and identifiers, after SCHEMA.

    key: 64 bits, the slice's own random stream. number: the slice's own, below 2**40; with the row's own, below 2**24,
    it numbers the flow.
    """
    shaped = _shape(draft, texts.network, key)
    state, proto = shaped.state, kinds()[draft.profile, 0]
    addresses = texts.network.addresses
    source, target = from_ipv4(addresses[draft.source]), from_ipv4(addresses[draft.target])
    label, detail = texts.labels(draft.attack)
    code = np.where(proto == _TCP, state, len(_STATES))
    columns = {
        "flowid": _flow_ids(draft.order, texts.network.seed, number),
        "stime": pa.array(draft.time).view(FLOW["stime"].type),
        "etime": pa.array(draft.time + shaped.dur_us).view(FLOW["etime"].type),
        "dur": (shaped.dur_us // 1000).astype(np.uint32),
        "proto": _take([profile.proto for profile in PROFILES], draft.profile),
        "saddr": texts.network.texts.take(pa.array(draft.source)),
        "daddr": texts.network.texts.take(pa.array(draft.target)),
        "iflags": _take([*_FIRST_FLAGS, None], code),
        "uflags": _take([*_ALL_FLAGS, None], code),
        "ndpi_ja4": _take([None, *_FINGERPRINTS_CLIENT], shaped.client),
        "ndpi_ja3s": _take([None, *_FINGERPRINTS_SERVER], shaped.server),
        "community_id": community_ids(proto, source, target, shaped.sport, shaped.dport),
        # A sensor names a service only when it has seen it speak.
        "service": _take([*_SERVICE_TEXT, None], np.where(np.isin(state, (S0, REJ)), len(PROFILES), draft.profile)),
        "conn_state": _take(_STATES, state),
        "label": label,
        "label_detail": detail,
    }
    return pa.table([_column(field, columns, shaped) for field in SCHEMA], schema=SCHEMA)


def _column(field: pa.Field, columns: dict[str, pa.Array | np.ndarray], shaped: Shapes) -> pa.Array:
    values = columns[field.name] if field.name in columns else getattr(shaped, field.name)
    return pa.array(values, field.type) if isinstance(values, np.ndarray) else values


def _shape(draft: Draft, network: Network, key: int) -> Shapes:
    out = Shapes(*(np.empty(len(draft.time), kind) for kind in SHAPE_TYPES))
    drawn = (draft.order, draft.profile, draft.source, draft.target, draft.port)
    with np.errstate(over="ignore"):  # random streams are modulo 2**64
        shape_flows(np.uint64(key), *drawn, shapes(), kinds(), network.inside, out)
    return out


def _flow_ids(order: np.ndarray, seed: int, number: int) -> pa.Array:
    numbers = order.astype(np.uint64) | np.uint64(number << 24)
    data = np.empty(ID_WIDTH * len(order), np.uint8)
    key = int.from_bytes(hashlib.blake2b(f"flows {seed}".encode(), digest_size=8).digest())
    with np.errstate(over="ignore"):
        write_flow_ids(np.uint64(key), numbers, data)
    return text_array(data, np.arange(0, ID_WIDTH * (len(order) + 1), ID_WIDTH, dtype=np.int32))


def _take(texts: list[str | None] | tuple[str | None, ...], codes: np.ndarray) -> pa.Array:
    return pa.array(texts, pa.string()).take(pa.array(codes))


def _hex(text: str, width: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:width]


# The shape of JA4 and JA3S values, not those of real programs.
_FINGERPRINTS_CLIENT = [
    f"t13d{15 + index % 4}{10 + index % 7}h2_{_hex(f'ciphers {index}', 12)}_{_hex(f'extensions {index}', 12)}"
    for index in range(16)
]
_FINGERPRINTS_SERVER = [_hex(f"server {index}", 32) for index in range(24)]
