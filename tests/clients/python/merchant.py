"""A merchant on x402's FastAPI middleware, x402 version 2.

Argument: JSON {facilitator, payTo}. Prints JSON {url} of its paid resource, and serves until it is killed.
"""

import json
import socket
import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient, PaymentOption, RouteConfig
from x402.http.middleware.fastapi import payment_middleware
from x402.mechanisms.svm.exact.server import ExactSvmScheme

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"

settings = json.loads(sys.argv[1])
server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=settings["facilitator"])))
server.register(NETWORK, ExactSvmScheme())
option = PaymentOption(scheme="exact", network=NETWORK, pay_to=settings["payTo"], price="$0.05")

app = FastAPI()
app.middleware("http")(payment_middleware({"GET /paid": RouteConfig(accepts=option)}, server))


@app.get("/paid")
async def paid() -> PlainTextResponse:
    return PlainTextResponse("the resource")


listener = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/paid"}), flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
