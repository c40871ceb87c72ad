"""A buyer on x402's httpx client, x402 versions 2 and 1.

Argument: JSON {url, key, rpc}, the key in base58. Prints JSON {status, body, receipt?, error?}.
"""

import asyncio
import json
import sys

from x402 import x402Client
from x402.http import decode_payment_required_header, decode_payment_response_header
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.svm import KeypairSigner
from x402.mechanisms.svm.exact.register import register_exact_svm_client


async def main() -> None:
    settings = json.loads(sys.argv[1])
    client = x402Client()
    register_exact_svm_client(client, KeypairSigner.from_base58(settings["key"]), rpc_url=settings["rpc"])
    async with x402HttpxClient(client, timeout=60) as http:
        response = await http.get(settings["url"])
    told = {"status": response.status_code, "body": response.text}
    receipt = response.headers.get("payment-response") or response.headers.get("x-payment-response")
    if receipt:
        told["receipt"] = decode_payment_response_header(receipt).model_dump(mode="json", by_alias=True)
    if required := response.headers.get("payment-required"):
        told["error"] = decode_payment_required_header(required).error
    elif response.status_code != 200 and response.text.startswith("{"):
        told["error"] = response.json().get("error")
    print(json.dumps(told))


asyncio.run(main())
