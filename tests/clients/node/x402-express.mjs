// A merchant on x402-express, x402 version 1.
//
// Argument: JSON {facilitator, payTo}. Prints JSON {url} of its paid resource, and serves until it is killed.

import express from 'express';
import { paymentMiddleware } from 'x402-express';

const { facilitator, payTo } = JSON.parse(process.argv[2]);
const routes = { 'GET /paid': { price: '$0.05', network: 'solana-devnet' } };

const app = express();
app.use(paymentMiddleware(payTo, routes, { url: facilitator }));
app.get('/paid', (_, response) => response.send('the resource'));
const server = app.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/paid` }));
});
