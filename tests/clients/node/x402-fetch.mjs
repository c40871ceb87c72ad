// A buyer on x402-fetch, x402 version 1.
//
// Argument: JSON {url, key, rpc, twice}, the key in base58. Prints JSON {status, body, receipt?, error?}.
//
// This client simulates its payment before it sends it, so a broke payer never gets as far as the merchant. One that
// pays twice does: the second payment is made once the first is signed, and arrives before it.

import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from 'x402-fetch';

import { report } from './told.mjs';

const { url, key, rpc, twice } = JSON.parse(process.argv[2]);
const signer = await createSigner('solana-devnet', key);
const pay = through =>
    wrapFetchWithPayment(through, signer, undefined, undefined, { svmConfig: { rpcUrl: rpc } })(url);

async function payInBetween(input, init) {
    if (init?.headers?.['X-PAYMENT'] !== undefined) {
        const { status } = await pay(fetch);
        if (status !== 200) throw new Error(`the payment in between was answered with ${status}`);
    }
    return await fetch(input, init);
}

const response = await pay(twice ? payInBetween : fetch);
const receipt = response.headers.get('x-payment-response') ?? response.headers.get('payment-response');
await report(response, receipt === null ? undefined : decodeXPaymentResponse(receipt));
