// A buyer on @x402/fetch with @x402/svm, x402 versions 2 and 1.
//
// Argument: JSON {url, key, rpc}, the key in base58. Prints JSON {status, body, receipt?, error?}.

import { createKeyPairSignerFromBytes, getBase58Encoder } from '@solana/kit';
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from '@x402/fetch';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { ExactSvmSchemeV1 } from '@x402/svm/exact/v1/client';

import { report } from './told.mjs';

const { url, key, rpc } = JSON.parse(process.argv[2]);
const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(key));
const client = new x402Client()
    .register('solana:*', new ExactSvmScheme(signer, { rpcUrl: rpc }))
    .registerV1('solana-devnet', new ExactSvmSchemeV1(signer, { rpcUrl: rpc }));

const response = await wrapFetchWithPayment(fetch, client)(url);
const receipt = response.headers.get('payment-response') ?? response.headers.get('x-payment-response');
await report(response, receipt === null ? undefined : decodePaymentResponseHeader(receipt));
