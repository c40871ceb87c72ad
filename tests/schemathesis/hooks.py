"""What schemathesis has to know of the service: values it cannot make up, and which 503 is none of the service's doing."""

import json
import os
import re
from collections import Counter
from itertools import count

import schemathesis
from hypothesis import strategies as st

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# Real ones, made by the test: `proofs`, `x402`, `payments`, `nonces`, `agents`, `plans` and `subscriptions`; `deleted` are agents
# and `removed` plans to be deleted, `cancelled` subscriptions to be cancelled, `revoked` and `rotated` API keys to be so.
with open(os.environ["PAY402_KNOWN"]) as file:
    KNOWN = json.load(file)
KEY = "Idempotency-Key"
SEEN = os.environ["PAY402_SEEN"]

turns = {name: count() for name in (*KNOWN, "made up", "requirements", "keys")}
seen = Counter()


def base58(data):
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def encoded(size):
    return st.binary(min_size=size, max_size=size).map(base58)


schemathesis.openapi.format("solana-public-key", encoded(32))
schemathesis.openapi.format("solana-signature", encoded(64))


def known(kind):
    """Every other time, the next real one."""
    turn = next(turns[kind])
    return None if turn % 2 else KNOWN[kind][turn // 2 % len(KNOWN[kind])]


@schemathesis.hook
def before_call(context, case, kwargs):
    key = (case.headers or {}).get(KEY)
    # Under few keys most requests would be conflicts, whatever else there is to say of them.
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        turn = next(turns["keys"])
        # What is made, and then deleted by a later step, must not be told of again by an answer that was kept.
        if turn % 4 or case.operation.label in ("POST /agents", "POST /plans", "POST /api-keys"):
            case.headers[KEY] = f"turn-{turn}"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.operation.label == "POST /verify":
        proof = known("proofs")
        if proof is None and next(turns["made up"]) % 2:
            proof = {**case.body, "amount": "0.05", "requirement": None}
        case.body = proof or case.body
    elif case.operation.label == "POST /settle":
        case.body = known("x402") or case.body
    elif case.operation.label == "POST /subscriptions" and (plan := known("plans")):
        case.body = {**case.body, "planId": plan, "agentId": KNOWN["agents"][0], "metadata": None}
    elif case.operation.label in ("POST /usage", "POST /subscriptions/usage") and (one := known("subscriptions")):
        case.body = used(case.body, one)
    elif case.operation.label == "POST /requirements" and next(turns["requirements"]) % 2:
        # What the schema cannot say of its members together is made right, so that more gets past the first look.
        case.body = {**case.body, "amount": "0.05", "scheme": "range", "maxAmount": 0.07, "expiresAt": None}


def used(body, subscription):
    """Usage, one or many, of a subscription that is there; at no time, since hardly any is in the current period."""
    if "usage" in body:
        return {"usage": [used(one, subscription) for one in body["usage"]]}
    return {**body, "subscriptionId": subscription, "timestamp": None, "metadata": None}


def in_path(kind, name):
    def map_path_parameters(context, path_parameters):
        value = known(kind)
        return path_parameters if value is None else {**path_parameters, name: value}

    return map_path_parameters


schemathesis.hook.apply_to(path="/payments/{id}")(in_path("payments", "id"))
schemathesis.hook.apply_to(path="/requirements/{nonce}")(in_path("nonces", "nonce"))
schemathesis.hook.apply_to(path="/agents/{id}", method=["GET", "PATCH"])(in_path("agents", "id"))
schemathesis.hook.apply_to(path="/agents/{id}", method="DELETE")(in_path("deleted", "id"))
schemathesis.hook.apply_to(path="/agents/{id}/reputation")(in_path("agents", "id"))
schemathesis.hook.apply_to(path="/agents/{id}/spending")(in_path("agents", "id"))
schemathesis.hook.apply_to(path="/plans/{id}", method=["GET", "PATCH"])(in_path("plans", "id"))
schemathesis.hook.apply_to(path="/plans/{id}", method="DELETE")(in_path("removed", "id"))
schemathesis.hook.apply_to(path="/subscriptions/plans/{id}")(in_path("plans", "id"))
schemathesis.hook.apply_to(path="/subscriptions/{id}")(in_path("subscriptions", "id"))
schemathesis.hook.apply_to(path="/subscriptions/{id}/usage")(in_path("subscriptions", "id"))
schemathesis.hook.apply_to(path="/subscriptions/{id}/cancel")(in_path("cancelled", "id"))
schemathesis.hook.apply_to(path="/api-keys/{id}", method="DELETE")(in_path("revoked", "id"))
schemathesis.hook.apply_to(path="/api-keys/{id}/rotate")(in_path("rotated", "id"))


@schemathesis.hook
def after_call(context, case, response):
    seen[f"{case.operation.label} {response.status_code}"] += 1
    with open(SEEN, "w") as file:
        json.dump(seen, file)


@schemathesis.check
def no_trouble_of_ours(ctx, response, case):
    """No 5xx, but for one: a transaction that nobody knows may still be confirmed, which is told by a 503."""
    if response.status_code < 500:
        return
    told = response.json().get("code")
    awaited = told == "TRANSACTION_NOT_FOUND" and case.operation.label == "POST /verify"
    if response.status_code == 503 and awaited and "retry-after" in response.headers:
        return
    raise AssertionError(f"{response.status_code} {told}")


@schemathesis.check
def request_id(ctx, response, case):
    """Every answer carries an id, and an error tells the same one."""
    names = response.headers.get("x-request-id")
    assert names, "X-Request-Id is missing"
    # An answer given again tells the id of the first time.
    again = "idempotent-replayed" in response.headers
    if response.status_code >= 400 and case.operation.path != "/ready" and not again:
        assert response.json()["requestId"] in names, "requestId is not X-Request-Id"
