// A merchant on @x402/express, x402 version 2.
//
// Argument: JSON {facilitator, payTo, rpc, apiKey?}. Prints JSON {url} of its paid resource, and serves until it is killed.

import { HTTPFacilitatorClient } from '@x402/core/server';
import { paymentMiddleware, x402ResourceServer } from '@x402/express';
import { ExactSvmScheme } from '@x402/svm/exact/server';
import express from 'express';

const { facilitator, payTo, rpc, apiKey } = JSON.parse(process.argv[2]);
const network = 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1';
const price = '$0.05';

const key = apiKey === undefined ? {} : { 'X-API-Key': apiKey };
const createAuthHeaders = async () => ({ supported: key, verify: key, settle: key });

// With an RPC URL it puts a blockhash into its requirements, so that the buyer need not fetch one.
const resources = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator, createAuthHeaders }))
    .register(network, new ExactSvmScheme({ rpcUrl: rpc }));
const routes = {
    'GET /paid': { accepts: { scheme: 'exact', network, payTo, price }, description: 'A resource', mimeType: 'text/plain' },
    'GET /order': { accepts: { scheme: 'exact', network, payTo, price, extra: { memo: 'order 7' } } },
};

const app = express();
app.use(paymentMiddleware(routes, resources));
app.get(['/paid', '/order'], (_, response) => response.send('the resource'));
const server = app.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/paid` }));
});
