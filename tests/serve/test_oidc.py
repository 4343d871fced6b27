"""OIDC tokens, against an issuer on loopback that publishes real keys and signs real tokens."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tocsin.serve.oidc import RETRY_S, Oidc
from tocsin.serve.problems import Problem
from tocsin.settings_serve import OidcSettings
from tocsin.testing.clock import FakeClock


class Issuer:
    """Publishes a discovery document and keys, and signs what it is told to."""

    def __init__(self) -> None:
        self.private: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.fetched = 0
        self.down = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def make_key(self, kid: str, kind: str = "RSA") -> None:
        if kind == "RSA":
            self.private[kid] = rsa.generate_private_key(65537, 2048)
        else:
            self.private[kid] = ec.generate_private_key(ec.SECP256R1())

    def keys(self) -> list[dict[str, Any]]:
        found = []
        for kid, private in self.private.items():
            is_rsa = isinstance(private, rsa.RSAPrivateKey)
            algorithm = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
            key = algorithm.to_jwk(private.public_key(), as_dict=True)
            found.append({**key, "kid": kid, "use": "sig"})
        return found

    def token(self, kid: str, clock: FakeClock, *, algorithm: str = "", **claims: Any) -> str:
        now = clock.now().timestamp()
        said = {"iss": self.url, "aud": "tocsin", "sub": "ada", "iat": now, "exp": now + 300, "scope": "read"} | claims
        said = {name: value for name, value in said.items() if value is not None}
        private = self.private[kid]
        algorithm = algorithm or ("RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256")
        return jwt.encode(said, private, algorithm, headers={"kid": kid})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                documents = {
                    "/.well-known/openid-configuration": {
                        "issuer": issuer.url,
                        "jwks_uri": f"{issuer.url}/keys",
                        **issuer.about,
                    },
                    "/keys": {"keys": issuer.keys()},
                }
                issuer.fetched += self.path == "/keys"
                body = json.dumps(documents.get(self.path)).encode()
                self.send_response(500 if issuer.down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def issuer():
    made = Issuer()
    made.make_key("one")
    yield made
    made.close()


def oidc(issuer: Issuer, clock: FakeClock, **settings: Any) -> Oidc:
    return Oidc(OidcSettings(issuer=issuer.url, audience="tocsin", **settings), clock)


def caller(verifier: Oidc, token: str):
    assert verifier.takes(token)
    return asyncio.run(verifier.look_up(token))


def refused(verifier: Oidc, token: str, status: int = 401) -> str:
    with pytest.raises(Problem) as raised:
        caller(verifier, token)
    assert raised.value.status_code == status, raised.value.told
    assert verifier.known(token) is None
    return raised.value.told["detail"]


@pytest.mark.parametrize("kind", ["RSA", "EC"])
def test_a_good_token_names_its_caller(issuer, clock, kind):
    issuer.make_key("two", kind)
    verifier = oidc(issuer, clock)
    token = issuer.token("two", clock, scope="openid score profile")
    assert verifier.known(token) is None
    found = caller(verifier, token)
    assert (found.name, found.scope) == ("oidc:ada", "score")
    assert verifier.known(token) == found
    assert issuer.fetched == 1


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 0}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "times"),
        ({"exp": float("nan")}, "times"),
        ({"nbf": 4e9}, "not valid yet"),
        ({"iat": 4e9}, "not valid yet"),
        ({"aud": "another"}, "[Aa]udience"),
        ({"aud": None}, "aud"),
        ({"iss": "https://evil.example"}, "[Ii]ssuer"),
        ({"iss": None}, "iss"),
        ({"sub": None}, "sub"),
    ],
    ids=str,
)
def test_a_token_that_is_not_in_order_is_refused(issuer, clock, claims, why):
    detail = refused(oidc(issuer, clock), issuer.token("one", clock, **claims))
    assert pytest.importorskip("re").search(why, detail), detail


def test_clocks_may_differ_a_little(issuer, clock):
    verifier = oidc(issuer, clock, leeway_s=60)
    now = clock.now().timestamp()
    caller(verifier, issuer.token("one", clock, exp=now - 59))
    caller(verifier, issuer.token("one", clock, nbf=now + 59, iat=now + 59))
    refused(verifier, issuer.token("one", clock, exp=now - 61))
    refused(verifier, issuer.token("one", clock, nbf=now + 61))


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join(parts)


def test_a_token_without_signature_is_refused(issuer, clock):
    claims = jwt.decode(issuer.token("one", clock), options={"verify_signature": False})
    for name in ("none", "None", "NONE", "nOnE"):
        detail = refused(oidc(issuer, clock), unsigned({"alg": name, "typ": "JWT", "kid": "one"}, claims) + ".")
        assert "RS256" in detail


def test_a_public_key_is_no_shared_secret(issuer, clock):
    """The known attack: sign with HMAC, and the published key as its secret."""
    claims = jwt.decode(issuer.token("one", clock), options={"verify_signature": False})
    public = issuer.private["one"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = unsigned({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims)
    mac = hmac.new(public, head.encode(), hashlib.sha256).digest()
    detail = refused(oidc(issuer, clock), f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")
    assert "'HS256'" in detail


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_another_algorithm_is_refused(issuer, clock, algorithm):
    refused(oidc(issuer, clock), issuer.token("one", clock, algorithm=algorithm))


def test_a_token_that_was_changed_is_refused(issuer, clock):
    head, body, signature = issuer.token("one", clock).split(".")
    other = issuer.token("one", clock, scope="admin").split(".")[1]
    verifier = oidc(issuer, clock)
    refused(verifier, f"{head}.{other}.{signature}")
    refused(verifier, f"{head}.{body}.{signature[:-4]}AAAA")
    refused(verifier, f"{head}.{body}.")
    refused(verifier, "a.b.c")


def test_another_issuers_key_of_the_same_name_is_refused(issuer, clock):
    other = Issuer()
    other.make_key("one")
    token = other.token("one", clock, iss=issuer.url)
    other.close()
    refused(oidc(issuer, clock), token)


def test_a_new_key_is_fetched_when_a_token_names_it(issuer, clock):
    verifier = oidc(issuer, clock)
    caller(verifier, issuer.token("one", clock))
    issuer.make_key("two")
    new = issuer.token("two", clock)
    refused(verifier, new)
    assert issuer.fetched == 1, "not so soon again"
    clock.advance(RETRY_S)
    caller(verifier, new)
    assert issuer.fetched == 2
    clock.advance(RETRY_S)
    caller(verifier, issuer.token("one", clock))
    assert issuer.fetched == 2


def test_a_key_that_was_withdrawn_counts_no_more(issuer, clock):
    verifier = oidc(issuer, clock, refresh_s=600)
    issuer.make_key("two")
    token = issuer.token("one", clock, exp=clock.now().timestamp() + 3600)
    caller(verifier, token)
    del issuer.private["one"]
    clock.advance(601)
    assert verifier.known(token) is None, "remembered for a minute at most"
    refused(verifier, token)


def test_while_the_issuer_is_down_its_known_keys_count(issuer, clock):
    verifier = oidc(issuer, clock, refresh_s=60)
    caller(verifier, issuer.token("one", clock))
    issuer.down = True
    clock.advance(120)
    caller(verifier, issuer.token("one", clock))


def test_without_any_key_it_says_that_the_issuer_is_down(issuer, clock):
    issuer.down = True
    assert "cannot be fetched" in refused(oidc(issuer, clock), issuer.token("one", clock), 503)


@pytest.mark.parametrize(
    "about",
    [{"issuer": "https://evil.example"}, {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": None}, {"jwks_uri": "/keys"}],
    ids=str,
)
def test_a_discovery_document_that_is_wrong_is_not_followed(issuer, clock, about):
    issuer.about = about
    refused(oidc(issuer, clock), issuer.token("one", clock), 503)


@pytest.mark.parametrize(
    ("settings", "claims", "expected"),
    [
        ({}, {"scope": "read write"}, "write"),
        ({}, {"scope": ["admin", 7]}, "admin"),
        ({"scope_claim": "roles", "scopes": {"soc": "score"}}, {"roles": ["soc", "admin"]}, "score"),
        ({"scope_claim": "realm_access.roles"}, {"realm_access": {"roles": ["read"]}}, "read"),
        ({"scope_claim": "https://example.org/roles"}, {"https://example.org/roles": "write"}, "write"),
    ],
    ids=str,
)
def test_scopes_come_from_a_claim(issuer, clock, settings, claims, expected):
    assert caller(oidc(issuer, clock, **settings), issuer.token("one", clock, **claims)).scope == expected


@pytest.mark.parametrize("claims", [{"scope": ""}, {"scope": None}, {"scope": "root"}, {"scope": {"read": 1}}], ids=str)
def test_a_token_without_a_scope_may_do_nothing(issuer, clock, claims):
    assert "'scope'" in refused(oidc(issuer, clock), issuer.token("one", clock, **claims), 403)


def test_what_is_remembered_ends_with_the_token(issuer, clock):
    verifier = oidc(issuer, clock, leeway_s=0)
    token = issuer.token("one", clock, exp=clock.now().timestamp() + 10)
    caller(verifier, token)
    clock.advance(9)
    assert verifier.known(token)
    clock.advance(2)
    assert verifier.known(token) is None
    refused(verifier, token)


def test_a_service_takes_tokens_and_keys(issuer, start_service):
    service = start_service(auth="keys+oidc", oidc={"issuer": issuer.url, "audience": "tocsin"})
    clock = service.app.clock
    _, key = service.app.ledger.keys.create("one", "read")
    for token in (key, issuer.token("one", clock)):
        for _ in range(2):
            answer = service.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200, answer.text
    refusals = {
        issuer.token("one", clock, exp=time.time() - 3600): 401,
        issuer.token("one", clock, scope="none"): 403,
        "x.y.z": 401,
        "x": 401,
    }
    for token, status in refusals.items():
        answer = service.client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert token not in answer.text or len(token) < 6
